"""How a service is to be built, from the names of its files and what ``enclii.yaml`` says; no file is read.

What is configured wins, then a Dockerfile; sources that only Buildpacks could build are named and refused.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from pipeline.errors import Invalid, Refused
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
    """What to build with; ``dockerfile`` is relative to the service's path."""

    kind: Literal["dockerfile"]
    dockerfile: str


def detect(paths: Collection[str], spec: ServiceSpec) -> Plan:
    """The plan for one service, where ``paths`` are all files of the commit.

    Raises Invalid when nothing to build was found, Refused when only Buildpacks could build what was.
    """
    found = set(paths)
    if spec.build.buildpacks is not None:
        raise _no_buildpacks(f"{spec.name}: build.buildpacks is configured")
    if spec.build.dockerfile:
        return _configured(found, spec, spec.build.dockerfile)
    for candidate in DOCKERFILES:
        if _at(spec, candidate) in found:
            return Plan("dockerfile", candidate)
    if markers := [name for name in BUILDPACK_MARKERS if _at(spec, name) in found]:
        raise _no_buildpacks(f"{spec.name}: found {', '.join(markers)} in {spec.path!r} but no Dockerfile")
    looked_for = ", ".join((*DOCKERFILES, *BUILDPACK_MARKERS))
    raise Invalid(f"{spec.name}: nothing to build in {spec.path!r}; looked for {looked_for}", reason="nothing_to_build")


def _configured(found: set[str], spec: ServiceSpec, dockerfile: str) -> Plan:
    if _at(spec, dockerfile) not in found:
        raise Invalid(f"{spec.name}: there is no {_at(spec, dockerfile)} in this commit", reason="dockerfile_missing")
    return Plan("dockerfile", dockerfile)


def _no_buildpacks(message: str) -> Refused:
    return Refused(f"{message}; Buildpacks are not available: add a Dockerfile", reason="buildpacks_not_available")


def _at(spec: ServiceSpec, name: str) -> str:
    return posixpath.normpath(posixpath.join(spec.path, name))
