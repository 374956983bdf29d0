"""What the end of a build means: buildah's exit code and its very last line, read as one of our errors.

Only the last line is evidence. Everything before it may have been written by the build itself, which could then choose
how it is judged.
"""

from __future__ import annotations

import re

from pipeline.builders import NO_ACCOUNT, BuildFailed
from pipeline.errors import EncliiError, Unavailable

_RUN_EXIT = re.compile(r"while running runtime: exit status ([0-9]+)$")
_NETWORK = re.compile(
    r"connection refused|connection reset|i/o timeout|no such host|TLS handshake|server misbehaving|no route to host"
    r"|unexpected EOF|: EOF$|network is unreachable|toomanyrequests|received unexpected HTTP status: 5"
    r"|StatusCode: 5\d\d|context deadline exceeded|Temporary failure|Client\.Timeout"
)
_DENIED = re.compile(r"unauthorized|authentication required|denied|invalid username/password", re.IGNORECASE)
_MISSING_IMAGE = re.compile(r"manifest unknown|name unknown|not found|image not known|no such image", re.IGNORECASE)
_SYNTAX = re.compile(r"Unknown instruction|no FROM statement|no contents in|Dockerfile parse error|was not found in")
_DISK = re.compile(r"no space left on device|disk quota exceeded")


def of_build(returncode: int, last_line: str, tail: str, *, out_of_memory: bool) -> EncliiError:
    """The error for a build that ended with ``returncode``; ``tail`` is what people are shown of its log."""
    found = _RUN_EXIT.search(last_line)
    code = int(found[1]) if found else returncode
    if out_of_memory and (code == 137 or found is None or code == 1):
        text = f"the build needed more memory than it may have\n{tail}"
        return BuildFailed(text, reason="build_memory", exit_code=137)
    if found:
        return BuildFailed(f"a RUN step ended with exit code {code}\n{tail}", reason="build_failed", exit_code=code)
    if _DISK.search(last_line):
        return BuildFailed(f"the disk is full\n{tail}", reason="build_disk_full", exit_code=code)
    if _SYNTAX.search(last_line):
        return BuildFailed(f"{_said(last_line)}", reason="dockerfile_syntax", exit_code=code)
    if _NETWORK.search(last_line):
        return Unavailable(f"while building: {_said(last_line)}", reason="registry_unavailable")
    return BuildFailed(f"{_said(last_line)}\n{tail}", reason="build_failed", exit_code=code)


def of_pull(image: str, last_line: str) -> EncliiError:
    """The error for a base image that could not be pulled."""
    if _NETWORK.search(last_line):
        return Unavailable(f"base image {image}: {_said(last_line)}", reason="registry_unavailable")
    if _DENIED.search(last_line):
        return BuildFailed(f"base image {image}: {_said(last_line)}; {NO_ACCOUNT}", reason="base_image_denied")
    if _MISSING_IMAGE.search(last_line):
        return BuildFailed(f"base image {image}: {_said(last_line)}", reason="base_image_missing")
    return Unavailable(f"base image {image}: {_said(last_line)}", reason="base_image_unavailable")


def of_push(target: str, last_line: str) -> EncliiError:
    """The error for an image that could not be pushed: always worth another try, for the sources are not to blame."""
    reason = "registry_denied" if _DENIED.search(last_line) else "registry_unavailable"
    return Unavailable(f"push to {target}: {_said(last_line)}", reason=reason)


def _said(last_line: str) -> str:
    return last_line.removeprefix("Error: ").strip()[-1000:]
