"""What the end of a BuildKit build means, by what buildctl itself said last and by which step failed.

buildctl ends with 1 for everything, so its words are the evidence; a step's output never is. The sentence about a
step's own exit code is looked for first: the command in it was written by whoever wrote the Dockerfile.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipeline.builders import NO_ACCOUNT, BuildFailed
from pipeline.errors import EncliiError, Unavailable

_EXIT = re.compile(r"did not complete successfully: exit code: (\d+)(: .*)?$")
_DAEMON = re.compile(
    r"failed to list workers|error reading from server|connection error|transport is closing|closing transport"
    r"|code = Unavailable|no such file or directory\"$|graceful_stop|context deadline exceeded|deadline exceeded"
)
_NETWORK = re.compile(
    r"connection refused|connection reset|i/o timeout|no such host|TLS handshake|server misbehaving|no route to host"
    r"|unexpected EOF|: EOF$|network is unreachable|toomanyrequests|Too Many Requests|unexpected status.* 5\d\d"
    r"|5\d\d (?:Internal|Bad|Service|Gateway)|Temporary failure|Client\.Timeout"
)
_DENIED = re.compile(
    r"unauthorized|authentication required|access denied|authorization failed|insufficient_scope|\b403 ", re.IGNORECASE
)
_MISSING = re.compile(r"not found|manifest unknown|name unknown")
_DISK = re.compile(r"no space left on device|disk quota exceeded")
_SYNTAX = re.compile(
    r"dockerfile parse error|unknown instruction|no build stage in current context|target stage .* could not be found"
    r"|file with no instructions|failed to parse|the Dockerfile cannot be empty"
)
_PULLS = ("load metadata for ", "resolve image config", "FROM ")
_PUSHES = ("exporting to image", "pushing ", "exporting cache")
KILLED = 137


def of_build(words: Sequence[str], failed: str, tail: str) -> EncliiError:
    """The error; ``words`` is what buildctl said, ``failed`` the step that failed, ``tail`` what people are shown."""
    last = next((word for word in reversed(words) if word.startswith("error: ")), words[-1] if words else "")
    said = last.removeprefix("error: ").removeprefix("failed to solve: ")[-1000:]
    if found := _EXIT.search(last):
        return _of_step(int(found[1]), tail)
    if _SYNTAX.search(last):
        return BuildFailed(f"{said}\n{tail}", reason="dockerfile_syntax")
    if any(part in failed for part in _PUSHES):
        reason = "registry_denied" if _DENIED.search(last) else "registry_unavailable"
        return Unavailable(f"push: {said}", reason=reason)
    if _DISK.search(last):
        return BuildFailed(f"the builder's disk is full\n{tail}", reason="build_disk_full")
    if any(part in failed for part in _PULLS) or "failed to resolve source metadata" in last:
        return _of_pull(said)
    if _NETWORK.search(last) or _DAEMON.search(last) or not words:
        return Unavailable(f"while building: {said or 'buildctl said nothing'}", reason="builder_unavailable")
    return BuildFailed(f"{said}\n{tail}", reason="build_failed")


def _of_step(code: int, tail: str) -> BuildFailed:
    if code == KILLED:
        return BuildFailed(
            f"a RUN step was killed, most likely for needing more memory than it may have\n{tail}",
            reason="build_memory", exit_code=code,
        )  # fmt: skip
    return BuildFailed(f"a RUN step ended with exit code {code}\n{tail}", reason="build_failed", exit_code=code)


def _of_pull(said: str) -> EncliiError:
    if _NETWORK.search(said):
        return Unavailable(f"base image: {said}", reason="registry_unavailable")
    if _DENIED.search(said):
        return BuildFailed(f"base image: {said}; {NO_ACCOUNT}", reason="base_image_denied")
    if _MISSING.search(said):
        return BuildFailed(f"base image: {said}", reason="base_image_missing")
    return Unavailable(f"base image: {said}", reason="base_image_unavailable")
