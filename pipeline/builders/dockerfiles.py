"""The Dockerfile of a job as it is given to a builder: read from inside the context, scanned, without its frontend.

``# syntax=`` names an image that would run with the builder's rights before any check. Docker's own is taken to mean
the frontend that the builder has; any other is refused.
"""

from __future__ import annotations

import re

from pipeline import dockerfile
from pipeline.builders import BuildFailed, BuildJob
from pipeline.errors import Refused

_OWN = re.compile(r"(?:docker\.io/)?docker/dockerfile(?:-upstream)?(?::[\w.-]+)?(?:@sha256:[0-9a-f]{64})?")
_SYNTAX = re.compile(r"\A(\ufeff?(?:[ \t]*#[^\n]*\n)*?[ \t]*#\s*)syntax(\s*=)", re.IGNORECASE)


def scanned(job: BuildJob) -> tuple[str, dockerfile.Dockerfile]:
    """The text to build from and what is in it. Raises BuildFailed, Invalid or Refused with the place."""
    context = job.context.resolve()
    path = (context / job.dockerfile).resolve()
    if not path.is_relative_to(context) or not path.is_file():
        raise BuildFailed(f"there is no {job.dockerfile} in the service's path", reason="dockerfile_missing")
    if path.suffix == ".in":
        raise BuildFailed(f"{job.dockerfile}: preprocessed Dockerfiles (.in) are not built", reason="dockerfile_syntax")
    with path.open("rb") as file:
        text = file.read(dockerfile.LIMIT + 1).decode("utf-8", "replace")
    found = dockerfile.scan(text, arguments=job.arguments, filename=job.dockerfile)
    if found.syntax and not _OWN.fullmatch(found.syntax):
        raise Refused(
            f"{job.dockerfile}: the frontend {found.syntax[:120]!r} is not known here; take the # syntax= line out",
            reason="dockerfile_frontend",
        )
    return without_frontend(text), found


def without_frontend(text: str) -> str:
    """The same lines, with ``# syntax=`` made an ordinary comment; no line moves, so errors keep their numbers."""
    return _SYNTAX.sub(r"\1syntax not followed\2", text)
