"""A small scanner of Dockerfiles: which images a build starts from, and what in it a shared builder must not do.

It knows instructions, continuation lines, comments, ARG and ENV values; it does not judge whether the build would work.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pipeline.errors import Invalid, Refused

LIMIT = 1 << 20
HUB = "docker.io"
_DIRECTIVE = re.compile(r"#\s*([a-zA-Z]+)\s*=\s*(\S+)\s*$")
_ESCAPE = re.compile(r"^\s*#\s*escape\s*=\s*[^\\\s]", re.IGNORECASE | re.MULTILINE)
_TRANSPORT = re.compile(
    r"(?:dir|oci|oci-archive|docker-archive|docker-daemon|containers-storage|ostree|sif|tarball):|docker://"
)
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)(?:(:?[-+])([^{}]*))?\}|([A-Za-z_]\w*))")
_ASSIGNMENT = re.compile(r"""([A-Za-z_]\w*)=("(?:[^"\\]|\\.)*"|'[^']*'|(?:[^\s\\]|\\.)*)""")
_MOUNT_FROM = re.compile(r"--mount=\S*?\bfrom=([^,\s]+)")
_PORT = re.compile(r"([0-9]{1,5})(?:/tcp)?")
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?:(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]+)?)/)?(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?P<tag>:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(?P<digest>@sha256:[0-9a-f]{64})?"
)


@dataclass(frozen=True)
class Instruction:
    """One instruction: its line, its upper-case name and the rest of it, continuation lines joined."""

    line: int
    name: str
    rest: str


@dataclass(frozen=True)
class Dockerfile:
    """What the scanner found. ``images`` are full references in order of appearance, without doubles."""

    images: tuple[str, ...]
    stages: tuple[str, ...]
    ports: tuple[int, ...]
    syntax: str | None = None


@dataclass
class _Scope:
    arguments: Mapping[str, str]
    globals: dict[str, str] = field(default_factory=dict)
    local: dict[str, str] = field(default_factory=dict)
    images: dict[str, None] = field(default_factory=dict)
    stages: list[str] = field(default_factory=list)
    count: int = 0
    ports: list[int] = field(default_factory=list)


def scan(text: str, *, arguments: Mapping[str, str] | None = None, filename: str = "Dockerfile") -> Dockerfile:
    """Scan a Dockerfile with the build arguments that it will get.

    Raises Invalid for one that has no FROM or names an image wrongly; Refused for ADD from the network and for images
    read from the builder's own disk, because both would act with the builder's rights and not the build's.
    """
    if len(text) > LIMIT:
        raise Invalid(f"{filename}: larger than {LIMIT >> 10} KiB", reason="dockerfile_syntax")
    scope = _Scope(dict(arguments or {}))
    if _ESCAPE.search(text):
        raise Invalid(f"{filename}: the escape directive is not supported", reason="dockerfile_syntax")
    for instruction in instructions(text):
        _apply(instruction, scope, filename)
    if not scope.count:
        raise Invalid(f"{filename}: no FROM instruction", reason="dockerfile_syntax")
    ports = tuple(dict.fromkeys(scope.ports))
    return Dockerfile(tuple(scope.images), tuple(scope.stages), ports, _directives(text).get("syntax"))


def instructions(text: str) -> Iterator[Instruction]:
    """The instructions of a Dockerfile, in order."""
    parts: list[str] = []
    start = 0
    for number, line in enumerate(_lines(text), 1):
        bare = line.strip()
        if not bare or bare.startswith("#"):
            continue
        start = start if parts else number
        if bare.endswith("\\"):
            parts.append(bare[:-1])
            continue
        yield _instruction(start, " ".join([*parts, bare]))
        parts = []
    if parts:
        yield _instruction(start, " ".join(parts))


def full_reference(reference: str) -> str:
    """``python:3.13`` as ``docker.io/library/python:3.13``: what a registry client must ask for. Raises Invalid."""
    found = _IMAGE.fullmatch(reference)
    if found is None or len(reference) > 512:
        raise Invalid(f"{reference[:120]!r} is not an image reference", reason="dockerfile_syntax")
    host, path = found["host"] or "", found["path"]
    if host and not ("." in host or ":" in host or host == "localhost"):
        host, path = "", f"{host}/{path}"
    if path != path.lower():
        raise Invalid(f"{reference[:120]!r}: an image's name is in lower case", reason="dockerfile_syntax")
    if not host or host == "index.docker.io":
        host, path = HUB, path if "/" in path else f"library/{path}"
    tag = found["tag"] or ("" if found["digest"] else ":latest")
    return f"{host}/{path}{tag}{found['digest'] or ''}"


def _instruction(line: int, text: str) -> Instruction:
    name, *rest = text.split(None, 1) or [""]
    return Instruction(line, name.upper(), "".join(rest).strip())


def _lines(text: str) -> list[str]:
    """Lines as buildah sees them: other characters that Python takes for a line's end do not end one."""
    return text.lstrip("\ufeff").split("\n")


def _directives(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in _lines(text):
        match = _DIRECTIVE.match(line.strip())
        if match is None or match[1].lower() in found:
            break
        found[match[1].lower()] = match[2]
    return found


def _apply(instruction: Instruction, scope: _Scope, filename: str) -> None:
    where = f"{filename}:{instruction.line}"
    match instruction.name:
        case "FROM":
            _from(instruction.rest, scope, where)
        case "ARG":
            _arg(instruction.rest, scope)
        case "ENV":
            scope.local.update(_environment(instruction.rest, scope.local))
        case "EXPOSE":
            _expose(instruction.rest, scope)
        case "COPY":
            _copy(instruction.rest, scope, where)
        case "RUN":
            _run(instruction.rest, scope, where)
        case "ADD":
            _add(instruction.rest, scope, where)
        case "ONBUILD":
            _apply(_instruction(instruction.line, instruction.rest), scope, filename)
        case _:
            pass


def _from(rest: str, scope: _Scope, where: str) -> None:
    words = [word for word in _expand(rest, scope.globals).split() if not word.startswith("--")]
    if len(words) not in (1, 3) or (len(words) == 3 and words[1].lower() != "as"):
        raise Invalid(f"{where}: FROM takes an image and, after AS, a name", reason="dockerfile_syntax")
    _image(words[0], scope, where)
    scope.count += 1
    scope.local = {}
    if len(words) == 3:
        scope.stages.append(words[2].lower())


def _image(reference: str, scope: _Scope, where: str) -> None:
    """Note ``reference`` unless it is ``scratch``, an earlier stage or a stage's number."""
    if reference == "scratch" or reference.lower() in scope.stages or (reference.isdecimal() and scope.count):
        return
    if _TRANSPORT.match(reference):
        raise Refused(f"{where}: {reference[:120]!r}: images come from registries only", reason="dockerfile_refused")
    try:
        scope.images[full_reference(reference)] = None
    except Invalid as error:
        raise Invalid(f"{where}: {error.message}", reason=error.reason) from None


def _arg(rest: str, scope: _Scope) -> None:
    known = scope.local if scope.count else scope.globals
    pairs = _environment(rest, known) if "=" in rest else {}
    for name in [*pairs, *(word for word in rest.split() if word.isidentifier())]:
        outer = scope.globals.get(name) if scope.count else None
        value = scope.arguments.get(name, pairs.get(name, outer))
        if value is not None:
            known[name] = value


def _environment(rest: str, known: Mapping[str, str]) -> dict[str, str]:
    pairs = dict(_ASSIGNMENT.findall(rest))
    if not pairs and " " in rest:  # the old form, ENV NAME the rest of the line
        name, _, value = rest.partition(" ")
        pairs = {name: value.strip()}
    return {name: _expand(_unquote(value), known) for name, value in pairs.items()}


def _expose(rest: str, scope: _Scope) -> None:
    words = (_PORT.fullmatch(word) for word in _expand(rest, scope.local).split())
    scope.ports.extend(int(word[1]) for word in words if word)


def _copy(rest: str, scope: _Scope, where: str) -> None:
    if source := _flags(rest).get("from"):
        _image(_expand(source, scope.local), scope, where)


def _run(rest: str, scope: _Scope, where: str) -> None:
    for source in _MOUNT_FROM.findall(rest):
        _image(_expand(source.strip("\"'"), scope.local), scope, where)


def _add(rest: str, scope: _Scope, where: str) -> None:
    """Refuse a source that is, or after base-image variables may turn out to be, an address."""
    with contextlib.suppress(ValueError):
        rest = " ".join(map(str, json.loads(rest))) if rest.startswith("[") else rest
    expanded = re.sub(r"[\"'\\]", "", _expand(rest, scope.local))  # quotes and backslashes vanish in buildah too
    if re.search(r"://|git@|\$", expanded):
        raise Refused(
            f"{where}: ADD from the network would be fetched by the builder itself; use RUN and a download program",
            reason="dockerfile_refused",
        )


def _flags(rest: str) -> dict[str, str]:
    words = [word[2:].partition("=") for word in rest.split() if word.startswith("--")]
    return {name: value.strip("\"'") for name, _, value in words}


def _unquote(value: str) -> str:
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1] if quoted else value


def _expand(text: str, known: Mapping[str, str]) -> str:
    """Replace variables that are known, as Docker does; one that is not stays as it is written."""

    def value(match: re.Match[str]) -> str:
        name, operator, word = match[1] or match[4], match[2] or "", match[3] or ""
        if operator.endswith("+"):
            return word if known.get(name) else ""
        if operator.endswith("-"):
            return known.get(name) or word
        return known.get(name, match[0])

    return _VARIABLE.sub(value, text)
