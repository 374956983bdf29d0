"""Which service directories of a config repository go to one cluster, read from a working copy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gitops import projectfile
from gitops.binding import namespace_of
from gitops.layout import PROJECT_FILE, is_manifest, place_of
from gitops.wiring import Unit, tool_of
from pipeline.errors import EncliiError
from pipeline.records import Environment


@dataclass(frozen=True)
class Found:
    """The units of one cluster, and the ``project/environment`` paths that belong to other clusters.

    ``broken``: why projects whose file cannot be read were left out; ``elsewhere`` has all their environments.
    """

    units: tuple[Unit, ...]
    elsewhere: tuple[str, ...]
    broken: tuple[str, ...] = ()


def read(folder: Path, *, cluster: str, default: bool) -> Found:
    """What ``folder`` has for ``cluster``; ``default``: environments that name no cluster are meant too."""
    units: list[Unit] = []
    elsewhere: list[str] = []
    broken: list[str] = []
    for file in sorted(folder.glob(f"*/{PROJECT_FILE}")):
        project = file.parent.name
        try:
            environments = projectfile.parse(file.read_bytes(), project=project).environments
        except EncliiError as error:
            broken.append(f"{project}: {error.message}")
            elsewhere.append(f"{project}/*")
            continue
        for environment in environments:
            if environment.cluster == cluster or (default and not environment.cluster):
                units += _services(folder, project, environment)
            else:
                elsewhere.append(f"{project}/{environment.name}")
    return Found(tuple(units), tuple(elsewhere), tuple(broken))


def _services(folder: Path, project: str, environment: Environment) -> Iterator[Unit]:
    for directory in sorted((folder / project / environment.name).glob("*/")):
        place = place_of(f"{project}/{environment.name}/{directory.name}")
        names = [entry.name for entry in directory.iterdir() if entry.is_file()]
        if place is not None and any(is_manifest(name) for name in names):
            yield Unit(place, namespace_of(project, environment.name, environment.namespace), tool_of(names))
