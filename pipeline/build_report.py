"""What a build tells of itself afterwards: which builder, and each step with its time and whether it was cached.

It explains a slow build; nothing is decided by it, for parts of it were printed by the build.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pipeline.record import Record

STEPS_KEPT = 100
NAME_KEPT = 200


class BuildStep(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step of a build, in the order of its start."""

    name: str
    cached: bool = False
    failed: bool = False
    seconds: float = 0.0

    @property
    def internal(self) -> bool:
        """True for what the builder does for itself: reading the Dockerfile, sending the context, pushing."""
        return not self.name.startswith(("[", "STEP ")) or self.name.startswith("[internal]")


class BuildReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A build's steps; ``builder`` is its name and version, ``dropped`` the bytes of output that were not kept."""

    builder: str = ""
    steps: tuple[BuildStep, ...] = ()
    dropped: int = 0

    def first_built(self) -> BuildStep | None:
        """The first step that the cache did not have; None when all were cached."""
        return next((step for step in self.own() if not step.cached), None)

    def own(self) -> tuple[BuildStep, ...]:
        """The steps that the sources asked for."""
        return tuple(step for step in self.steps if not step.internal)


class BuilderState(Record, frozen=True, kw_only=True):
    """What one builder process builds with, and why; written when it starts."""

    kind: ClassVar[str] = "builder"
    worker: str
    dockerfiles: str = ""  # name and version, "" when there is none
    buildpacks: str = ""
    why: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    at: str = ""

    @property
    def key(self) -> tuple[str, ...]:
        return (self.worker,)


def summary(report: BuildReport) -> str:
    """One line: how much came from the cache, what was rebuilt first, what took longest."""
    own = report.own()
    if not own:
        return f"built by {report.builder}" if report.builder else ""
    parts = [f"{sum(step.cached for step in own)} of {len(own)} steps from the cache"]
    if first := report.first_built():
        parts.append(f"first built: {first.name}")
    slowest = max(own, key=lambda step: step.seconds)
    if slowest.seconds >= 0.1:
        parts.append(f"longest: {slowest.name} ({slowest.seconds:.1f} s)")
    return "; ".join(parts)


def kept(steps: list[BuildStep]) -> tuple[BuildStep, ...]:
    """The steps as they are stored: not too many, and no name too long."""
    return tuple(msgspec.structs.replace(step, name=step.name[:NAME_KEPT]) for step in steps[:STEPS_KEPT])
