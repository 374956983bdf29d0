"""The Dockerfile of a job as it is given to a builder: read from inside the context, scanned, without its frontend.

``# syntax=`` names an image that would run with the builder's rights before any check. Docker's own is taken to mean
the frontend that the builder has; any other is refused, in each form that BuildKit reads.
"""

from __future__ import annotations

import re

from pipeline import dockerfile
from pipeline.builders import BuildFailed, BuildJob
from pipeline.errors import Refused

SCOPE = "ENCLII_BUILD_SCOPE"
_OWN = re.compile(r"(?:docker\.io/)?docker/dockerfile(?:-upstream)?(?::[\w.-]+)?(?:@sha256:[0-9a-f]{64})?")
_HEAD = re.compile(r"\A(?:\ufeff?\s*(?:#|//)[^\n]*\n?)+")
_FRONTEND = re.compile(r"^\ufeff?\s*(?:#|//)\s*syntax\s*=\s*(\S*)", re.IGNORECASE | re.MULTILINE)
_OTHER_FORM = re.compile(r"\A\ufeff?\s*(?://|\{)")
_FIRST_COMMENT = re.compile(r"\A(\ufeff?\s*#)")
_JOINED = re.compile(r"\\[^\S\n]*\n(?:\s*(?:#[^\n]*)?\n)*")
_WITH_BODY = re.compile(r"\s*(?:RUN|COPY|ADD)\s", re.IGNORECASE)
_HERE = re.compile(r"<<-?[\"']?(\w+)[\"']?")
_FROM = re.compile(r"\s*FROM\s", re.IGNORECASE)


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
    _check_frontend(text, job)
    return without_frontend(text), found


def _check_frontend(text: str, job: BuildJob) -> None:
    """Raises Refused for a frontend that is not Docker's own, named by the file or by an argument."""
    if spoken := sorted(name for name in job.arguments if name.upper().startswith("BUILDKIT_")):
        raise Refused(f"{spoken[0]}: BUILDKIT_… are no arguments of a build here", reason="dockerfile_frontend")
    if _OTHER_FORM.match(text):
        raise Refused(
            f"{job.dockerfile}: a Dockerfile begins with an instruction or a # comment", reason="dockerfile_frontend"
        )
    head = _HEAD.match(text)
    for frontend in _FRONTEND.findall(head[0]) if head else ():
        if not _OWN.fullmatch(frontend):
            raise Refused(
                f"{job.dockerfile}: the frontend {frontend[:120]!r} is not known here; take the syntax= line out",
                reason="dockerfile_frontend",
            )


def without_frontend(text: str) -> str:
    """The same lines, the first comment made one that says nothing to a builder, and so none after it does.

    No line moves, so errors keep their numbers.
    """
    return _FIRST_COMMENT.sub(r"\1 not followed:", text)


def mounts(text: str) -> bool:
    """Whether a step may mount something: a cache, a secret."""
    return "--mount" in _JOINED.sub("", text)


def scoped(text: str, scope: str) -> str:
    """The same Dockerfile with an argument in each stage, so that a step's place in a layer cache is the scope's."""
    lines: list[str] = []
    inside = begun = False
    bodies: list[str] = []
    for line in text.split("\n"):
        lines.append(line)
        bare = line.strip()
        if bodies:  # of here-documents: what stands there is no instruction
            bodies = bodies[1:] if bare == bodies[0] else bodies
            continue
        if not bare or bare.startswith("#"):
            continue
        bodies = _HERE.findall(line) if inside or _WITH_BODY.match(line) else []
        begun = begun if inside else bool(_FROM.match(line))
        inside = bare.endswith("\\")
        if begun and not inside:
            lines.append(f"ARG {SCOPE}={scope}")
    return "\n".join(lines)
