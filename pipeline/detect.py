"""How a service is to be built, from the names of its files and what ``enclii.yaml`` says; no file is read.

What is configured wins, then a Dockerfile, then ``project.toml`` and what else Buildpacks go by.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

from pipeline.errors import Invalid
from pipeline.servicefile import ServiceSpec

DOCKERFILES = ("Dockerfile", "Containerfile")
BUILDPACK_MARKERS = (
    "project.toml",
    "Procfile",
    "requirements.txt",
    "pyproject.toml",
    "package.json",
    "go.mod",
    "pom.xml",
    "build.gradle",
    "Gemfile",
    "Cargo.toml",
    "composer.json",
)


@dataclass(frozen=True)
class Plan:
    """What to build with, and why in words; ``dockerfile`` is relative to the service's path."""

    kind: Literal["dockerfile", "buildpacks"]
    dockerfile: str = ""
    why: str = field(default="", compare=False)


def detect(paths: Collection[str], spec: ServiceSpec) -> Plan:
    """The plan for one service, where ``paths`` are all files of the commit. Raises Invalid when nothing was found."""
    found = set(paths)
    if spec.build.buildpacks is not None:
        return Plan("buildpacks", why="Buildpacks, as enclii.yaml says")
    if spec.build.dockerfile:
        return _configured(found, spec, spec.build.dockerfile)
    for candidate in DOCKERFILES:
        if _at(spec, candidate) in found:
            return Plan("dockerfile", candidate, f"{candidate}, found in {spec.path!r}; it goes before Buildpacks")
    if markers := [name for name in BUILDPACK_MARKERS if _at(spec, name) in found]:
        return Plan("buildpacks", why=f"Buildpacks: no Dockerfile in {spec.path!r}, but {', '.join(markers)}")
    looked_for = ", ".join((*DOCKERFILES, *BUILDPACK_MARKERS))
    raise Invalid(f"{spec.name}: nothing to build in {spec.path!r}; looked for {looked_for}", reason="nothing_to_build")


def _configured(found: set[str], spec: ServiceSpec, dockerfile: str) -> Plan:
    if _at(spec, dockerfile) not in found:
        raise Invalid(f"{spec.name}: there is no {_at(spec, dockerfile)} in this commit", reason="dockerfile_missing")
    return Plan("dockerfile", dockerfile, f"{dockerfile}, as enclii.yaml says")


def _at(spec: ServiceSpec, name: str) -> str:
    return posixpath.normpath(posixpath.join(spec.path, name))
