"""What every builder takes, gives and promises; which ones there are is decided in choice.py.

A build is cancelled by cancelling the call: its processes are gone before the call ends. What a killed worker left is
removed by ``sweep``, before the first build.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from pipeline.build_log import LineSink
from pipeline.build_report import BuildReport
from pipeline.errors import Permanent
from pipeline.isolation import CONTAINER
from pipeline.masking import Masker

Kind = Literal["dockerfile", "buildpacks"]
MIB = 1 << 20
NO_ACCOUNT = "it is not there, or its registry wants another account than ENCLII_REGISTRY_CONFIG has for it"


class BuildFailed(Permanent):
    """The sources do not build; the message ends with the last lines of the log."""

    def __init__(
        self, message: str, *, reason: str, exit_code: int | None = None, report: BuildReport | None = None
    ) -> None:
        super().__init__(message, reason=reason)
        self.exit_code = exit_code
        self.report = report


@dataclass(frozen=True)
class Cache:
    """Where a build's cache is kept in the registry: what may be read, and the one place that may be written."""

    reads: tuple[str, ...]
    writes: str


@dataclass(frozen=True)
class BuildJob:
    """What to build. ``pins`` fixes a base image's digest; one that is not named is taken as its tag says now.

    ``secrets`` are files by the id under which a step may mount them; ``image`` is the Buildpacks builder. ``source``
    is the digest of the sources, ``scope`` stands for their repository and trust class: what builds leave for later
    ones is shared within a scope only. Without them nothing is shared. ``mounting``: a base image's triggers may mount
    something, as steps of the Dockerfile may.
    """

    context: Path
    repository: str
    tag: str
    timestamp: int
    dockerfile: str = "Dockerfile"
    target: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    pins: Mapping[str, str] = field(default_factory=dict)
    platforms: tuple[str, ...] = ()
    secrets: Mapping[str, Path] = field(default_factory=dict)
    image: str = ""
    cache: Cache | None = None
    no_cache: bool = False
    trusted: bool = True
    plain_http: bool = False
    authfile: Path | None = None
    masker: Masker = field(default_factory=Masker)
    source: str = ""
    scope: str = ""
    mounting: bool = False


@dataclass(frozen=True)
class Limits:
    """What one build may use. ``stall``: seconds without any sign of progress; 0: for ever."""

    seconds: float = 1800
    stall: float = 0
    memory: int = 2048 * MIB
    cpus: float = 2.0
    processes: int = 1024
    disk: int = 10_240 * MIB
    keep_free: int = 1024 * MIB
    log_head: int = 4 * MIB
    log_tail: int = 256 << 10


@dataclass(frozen=True)
class Built:
    """What came of it: the manifest's digest, each base image's digest, and when (RFC 3339, UTC)."""

    digest: str
    bases: Mapping[str, str]
    started_at: str
    finished_at: str
    report: BuildReport = field(default_factory=BuildReport)


@dataclass(frozen=True)
class Facts:
    """A builder as doctor and the log name it; ``problems`` are sentences about what it cannot bound or isolate.

    ``isolation`` is the class by which provenance names it.
    """

    name: str
    version: str
    place: str = ""
    problems: tuple[str, ...] = ()
    isolation: str = CONTAINER

    def __str__(self) -> str:
        return " ".join(word for word in (self.name, self.version, self.place and f"at {self.place}") if word)


class Builder(Protocol):
    """Builds one kind of sources; several builds may run at once."""

    @property
    def facts(self) -> Facts: ...

    async def build(self, job: BuildJob, log: LineSink) -> Built:
        """Build and push one image. Raises BuildFailed for what the sources are to blame for, Refused for what a
        build may not have, Unavailable for everything else.
        """
        ...

    async def sweep(self) -> None:
        """Remove what a killed worker left."""
        ...

    async def collect(self, max_bytes: int) -> None:
        """Bring what is kept between builds below ``max_bytes``."""
        ...

    async def close(self) -> None:
        """Finish what goes on behind the builds."""
        ...
