"""What a folder would deploy, and the ``enclii.yaml`` that says so: services, where each is built, and its port."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from gitops import emit
from pipeline.detect import BUILDPACK_MARKERS, DOCKERFILES
from pipeline.dockerfile import scan
from pipeline.errors import EncliiError
from pipeline.servicefile import default_servicefile

DEPTH: Final = 3
MOST: Final = 20_000
_PASSED_OVER: Final = frozenset({"node_modules", "vendor", "venv", "target", "dist", "build", "test", "tests"})
HEADER: Final = "What this repository deploys: one entry a service."


@dataclass(frozen=True)
class Found:
    """One service: ``why`` says what it was seen by; ``port`` None is a worker."""

    name: str
    path: str
    why: str
    port: int | None = None


def detect(folder: Path) -> list[Found]:
    """The services of a folder: its own, else one for each folder below that can be built. Raises OSError."""
    places = _places(folder)
    chosen = [place for place in places if place == PurePosixPath()] or _outermost(places)
    found: dict[str, Found] = {}
    for place in chosen:
        base = _name(place.name or folder.resolve().name)
        name = next(one for one in (base, *(f"{base}-{number}" for number in range(2, 99))) if one not in found)
        found[name] = _found(folder / place, str(place), name)
    return list(found.values())


def servicefile(services: Sequence[Found]) -> str:
    """The file's text."""
    entries = {one.name: _entry(one) for one in services}
    return emit.document({"services": entries}, header=HEADER).decode()


def _entry(one: Found) -> dict[str, Any]:
    return {"path": one.path} | ({"port": one.port} if one.port else {})


def _found(folder: Path, place: str, name: str) -> Found:
    for file in DOCKERFILES:
        if (folder / file).is_file():
            ports = _exposed(folder / file)
            told = f"port {ports[0]}" if len(ports) == 1 else "no port" if not ports else f"ports {ports}: choose one"
            return Found(name, place, f"{file}, {told}", ports[0] if len(ports) == 1 else None)
    seen = ", ".join(marker for marker in BUILDPACK_MARKERS if (folder / marker).is_file())
    return Found(name, place, f"Buildpacks: {seen}; they listen on PORT, which is 8080", 8080)


def _exposed(dockerfile: Path) -> tuple[int, ...]:
    try:
        return scan(dockerfile.read_text("utf-8", "replace"), filename=dockerfile.name).ports
    except EncliiError:
        return ()  # the build will say what is wrong with it


def _name(text: str) -> str:
    return default_servicefile(text).services[0].name


def _places(folder: Path) -> list[PurePosixPath]:
    """Where something to build is: folders with a Dockerfile; without any, those that Buildpacks go by."""
    docker: list[PurePosixPath] = []
    packs: list[PurePosixPath] = []
    for place, names in _folders(folder):
        if names & {*DOCKERFILES}:
            docker.append(place)
        elif names & {*BUILDPACK_MARKERS}:
            packs.append(place)
    return sorted(docker or packs)


def _folders(folder: Path) -> Iterator[tuple[PurePosixPath, set[str]]]:
    seen = 0
    for root, below, files in os.walk(folder):
        place = PurePosixPath(Path(root).relative_to(folder).as_posix())
        deep = len(place.parts) >= DEPTH
        below[:] = [] if deep else sorted(n for n in below if not n.startswith(".") and n not in _PASSED_OVER)
        seen += len(files)
        if seen > MOST:
            return
        yield place, set(files)


def _outermost(places: Sequence[PurePosixPath]) -> list[PurePosixPath]:
    return [one for one in places if not any(other != one and other in one.parents for other in places)]
