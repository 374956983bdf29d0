"""What Enclii says to forges and asks of them, in words that are no forge's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from pipeline.promotions import CheckState
from pipeline.said import PullSaid

Level = Literal["none", "read", "triage", "write", "maintain", "admin"]
LEVELS: Final[tuple[Level, ...]] = ("none", "read", "triage", "write", "maintain", "admin")
"""What somebody may do in a repository, each more than the one before."""
Reaction = Literal["eyes", "rocket", "confused", "-1"]
State = Literal["pending", "success", "failure", "waiting"]
"""Of a check; ``waiting``: somebody has to do something first."""
EnvironmentState = Literal["queued", "in_progress", "success", "failure", "inactive"]


@dataclass(frozen=True)
class Where:
    """A repository on its forge: by the number that stays, and by the name that it has at the moment."""

    origin: str  # "github:123456"
    name: str  # "owner/name"

    @property
    def number(self) -> str:
        return self.origin.partition(":")[2]


@dataclass(frozen=True)
class Check:
    """What a commit shows beside its name: one line, an address, and text for who looks closer."""

    sha: str
    name: str
    state: State
    title: str
    url: str
    text: str = ""
    key: str = ""  # of what it tells, for who reads it back
    buttons: tuple[tuple[str, str, str], ...] = ()  # label, description, identifier


@dataclass(frozen=True)
class Shown:
    """What runs where, for the forge's list of environments."""

    sha: str
    environment: str
    state: EnvironmentState
    key: str
    title: str
    url: str = ""
    log: str = ""
    transient: bool = False
    production: bool = False


@dataclass(frozen=True)
class Known:
    """A repository as its forge has it now."""

    origin: str
    name: str
    url: str


@dataclass(frozen=True)
class Seen:
    """What a conditional question brought: the answer's tag, and its items unless nothing changed."""

    tag: str
    items: tuple[PullSaid, ...] = ()
    heads: tuple[tuple[str, str], ...] = ()  # branch, commit
    changed: bool = True


@dataclass(frozen=True)
class Proposal:
    """A branch that asks to be merged into another one of the same repository."""

    branch: str
    base: str
    title: str
    body: str


@dataclass(frozen=True)
class Opened:
    """A pull request by its number, and where people see it."""

    number: int
    url: str


class Forge(Protocol):
    """One forge with its credential. Every call has a deadline.

    Raises Unavailable (also for a rate limit, with its delay), Refused for a missing right, NotFound, Invalid.
    """

    name: str

    async def level(self, where: Where, login: str) -> Level:
        """What ``login`` may do there, asked now; "none" for a stranger."""

    async def pull(self, where: Where, number: int) -> PullSaid:
        """The pull request as it is now."""

    async def pulls(self, where: Where, tag: str = "") -> Seen:
        """The open pull requests, unless nothing changed since the answer with ``tag``."""

    async def heads(self, where: Where, tag: str = "") -> Seen:
        """The branches, unless nothing changed since the answer with ``tag``."""

    async def say(self, where: Where, number: int, marker: str, body: str, known: str) -> str:
        """Keep one comment below a pull request, found by its id or marker; its id."""

    async def react(self, where: Where, number: int, comment: str, reaction: Reaction) -> None:
        """Add a reaction to a comment; the same one twice is one."""

    async def check(self, where: Where, check: Check, known: str) -> str:
        """Show a check; its id, by which the next version replaces it."""

    async def show(self, where: Where, shown: Shown, known: str) -> str:
        """Show a deployment; its id. A forge that has none does nothing."""

    async def lookup(self, where: Where) -> Known:
        """The repository under the name that it has now."""

    async def propose(self, where: Where, proposal: Proposal) -> Opened:
        """Have one open pull request of that branch, with that text: the one that is there, or a new one."""

    async def checks(self, where: Where, sha: str) -> Mapping[str, CheckState]:
        """Every status and check run of a commit by its name; of several of one name the worst."""
