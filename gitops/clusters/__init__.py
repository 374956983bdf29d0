"""What Enclii asks of a cluster, as frozen values and one protocol; podman and Kubernetes answer it alike.

Everything that an adapter makes carries its instance's label, and an adapter never touches what does not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

State = Literal["starting", "ready", "failing", "stopped"]
Status = Literal["healthy", "unhealthy", "unknown"]
DriftPolicy = Literal["heal", "keep"]
Level = Literal["ok", "warning", "error"]
Document = Mapping[str, Any]
AWAY = frozenset(
    {
        "cluster_away",
        "credentials_expired",
        "credentials_unreadable",
        "cluster_unreadable",
        "index_unreadable",
        "sync_tool_away",
    }
)
"""Reasons by which nothing can be said about what runs now."""


@dataclass(frozen=True, order=True)
class ServiceRef:
    """One service in one environment of one project."""

    project: str
    environment: str
    service: str

    def __str__(self) -> str:
        return f"{self.project}/{self.environment}/{self.service}"


@dataclass(frozen=True)
class Wanted:
    """One deployment as git has it; secrets are named in the documents, and their values are the cluster's."""

    ref: ServiceRef
    deployment: str
    release: str
    image: str
    documents: tuple[Document, ...]
    health: str | None = None
    port: int | None = None
    namespace: str = ""
    """Where a cluster that has namespaces puts it; empty: after project and environment."""
    drift: DriftPolicy = "heal"
    adopted: bool = False
    """Its files are a person's: objects of their names that are there already, and nobody's, are taken over."""
    revision: str = ""
    """The commit of the config repository that it is read from."""
    targets: tuple[str, ...] = ()
    """The files that hold an adopted service's image, from the config repository's root."""
    tool: Literal["plain", "kustomize", "helm"] = "plain"
    """What renders its own directory."""

    @property
    def digest(self) -> str:
        return self.image.rpartition("@")[2]


@dataclass(frozen=True)
class Workload:
    """What a deployment's documents ask for."""

    replicas: int
    port: int | None


@dataclass(frozen=True)
class Replica:
    """One running (or dead) copy, as measured; ``digests`` are all that its image is known by in its registry."""

    name: str
    number: int
    release: str
    address: str | None
    state: State
    digest: str
    digests: frozenset[str]
    restarts: int
    started_at: datetime | None
    reason: str | None = None
    detail: str | None = None
    exit_code: int | None = None
    node: str = ""
    """The machine that it runs on; empty while none was chosen."""


@dataclass(frozen=True)
class Observation:
    """What exists of one deployment now."""

    ref: ServiceRef
    deployment: str
    replicas: tuple[Replica, ...]


@dataclass(frozen=True)
class Health:
    """The answer to "is it live": ``reason`` is for machines, ``detail`` for people, ``lines`` the dead one's last."""

    status: Status
    reason: str | None = None
    detail: str | None = None
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class LogLine:
    """One line that a replica printed; ``time`` in nanoseconds since 1970."""

    time: int
    replica: str
    release: str
    stream: Literal["stdout", "stderr"]
    text: bytes


@dataclass(frozen=True)
class DeadLog:
    """The last lines of a replica that is gone."""

    ref: ServiceRef
    deployment: str
    replica: str
    release: str
    exit_code: int | None
    lines: tuple[LogLine, ...]


@dataclass(frozen=True)
class Hint:
    """Something happened to this deployment: observe it. Hints get lost and repeat; they are never the truth."""

    time: int
    action: str
    ref: ServiceRef
    deployment: str


@dataclass(frozen=True)
class Finding:
    """One line of ``doctor``; ``fix`` says how to mend what is not ok."""

    level: Level
    subject: str
    message: str
    fix: str = ""


@dataclass(frozen=True)
class Size:
    """A terminal's size in characters."""

    rows: int
    columns: int


@dataclass(frozen=True)
class Printed:
    """Some bytes that a command printed; on a terminal both streams are one."""

    stream: Literal["stdout", "stderr"]
    data: bytes


@dataclass(frozen=True)
class Exited:
    """How a command ended; 126 and 127 as in a shell: not to be run, not there."""

    code: int


Typed = bytes | Size
"""What goes to a running command: bytes for its stdin, or its terminal's new size."""

Told = Callable[[Health], Awaitable[None]]


class SecretStore(Protocol):
    """The store of one cluster. Each call may be repeated; nothing here ever returns a value."""

    async def add(self, ref: ServiceRef, name: str, value: bytes, *, after: int) -> int:
        """Keep ``value`` under the first number above ``after`` that is free, and return it.

        Raises Unavailable, and Refused when the cluster forbids it; no text has the value.
        """
        ...

    async def missing(self, ref: ServiceRef, numbers: list[int]) -> list[int]:
        """Those of these versions that are not there. Raises Unavailable, Refused."""
        ...

    async def lend(self, ref: ServiceRef, numbers: list[int]) -> list[int]:
        """Have a preview get these versions of what was set for all previews; those that were never set.

        Raises Unavailable, Refused.
        """
        ...

    async def remove(self, ref: ServiceRef, numbers: list[int]) -> None:
        """Forget these versions; what is gone already is no error."""
        ...


class Cluster(Protocol):
    """The door to what runs. Each call has a deadline and may be repeated after a crash in its middle."""

    @property
    def rolls(self) -> bool:
        """True where a new deployment takes the old one's place by itself, and a failed one stays as git wants it."""
        ...

    def workload(self, wanted: Wanted) -> Workload:
        """What the documents ask for. Raises Invalid for what this cluster cannot honour."""
        ...

    def secrets(self, namespace: str) -> SecretStore:
        """Where the values of secrets are kept, for the services of one namespace ("": after their names)."""
        ...

    def address(self, wanted: Wanted) -> str | None:
        """Where people reach the service; None: through the front door."""
        ...

    async def drift(self, wanted: Wanted) -> tuple[str, ...]:
        """How what is applied differs from what git says, for people; empty: it does not."""
        ...

    async def check(self) -> list[Finding]:
        """What ``doctor`` should say about this cluster."""
        ...

    async def start(self, wanted: Wanted) -> None:
        """Bring up the replicas of one deployment beside whatever runs; what is there already stays untouched."""
        ...

    async def observe(self, ref: ServiceRef | None = None) -> list[Observation]:
        """Everything of this instance that exists now, or of one service."""
        ...

    async def healthy(self, wanted: Wanted) -> Health:
        """Whether every wanted replica is there, runs the wanted digest and answers."""
        ...

    async def serving(self, wanted: Wanted) -> Health:
        """Whether an older deployment still answers whole while a newer one is tried."""
        ...

    async def wait_healthy(
        self,
        wanted: Wanted,
        *,
        timeout: float,  # noqa: ASYNC109
        told: Told | None = None,
    ) -> None:
        """Return once healthy; raise Permanent, with the last lines printed, when it will not be.

        ``told`` hears of everything that stands in the way meanwhile.
        """
        ...

    async def stop(self, ref: ServiceRef, *, keep: frozenset[str], grace: float) -> list[DeadLog]:
        """Stop and remove all deployments of a service but ``keep``; hand back what they printed last."""
        ...

    async def remove(self, ref: ServiceRef, *, grace: float = 10.0) -> list[DeadLog]:
        """Leave nothing of the service behind."""
        ...

    def logs(
        self, ref: ServiceRef, *, follow: bool = False, tail: int | None = None, since: datetime | None = None
    ) -> AsyncIterator[LogLine]:
        """The lines of all replicas, merged; following goes on through restarts and new replicas."""
        ...

    def execute(
        self,
        ref: ServiceRef,
        command: Sequence[str],
        typed: AsyncIterator[Typed],
        *,
        replica: str = "",
        terminal: Size | None = None,
    ) -> AsyncIterator[Printed | Exited]:
        """Run a command in a replica that runs (by name, or any): what it prints, and last how it exited.

        The end of ``typed`` is the end of its input. Raises NotFound, Refused, Unavailable.
        """
        ...

    def events(self) -> AsyncIterator[Hint]:
        """Hints, for ever."""
        ...

    async def close(self) -> None:
        """End every connection."""
        ...
