"""What an environment asks before a release enters it, and the promotions that are on their way.

The rules are fields of ``records.Environment``, as ``project.yaml`` has them; the records belong to the committer.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from pipeline.record import Record

PromotionStatus = Literal["waiting", "proposed", "done", "refused", "rejected", "superseded"]
CheckState = Literal["pending", "success", "failure"]
OPEN: frozenset[PromotionStatus] = frozenset({"waiting", "proposed"})
"""The states in which something may still come of a promotion."""


class PromotionRule(msgspec.Struct, frozen=True, kw_only=True):
    """What a release needs before it enters the environment."""

    source: str = ""  # the environment it comes from; "": any
    soak: float = 0.0  # seconds that it was healthy there without a break
    approvals: int = 0  # by as many people, none of them who asked for it
    approvers: tuple[str, ...] = ()  # people and roles; empty: anybody
    by: Literal["", "commit", "pull-request"] = ""  # "": pull-request where the environment is protected
    checks: tuple[str, ...] = ()  # names of checks that must have succeeded on the commit


class FreezeWindow(msgspec.Struct, frozen=True, kw_only=True):
    """A time in which nothing new enters: from one moment to another, or each week ("fri 16:00")."""

    start: str
    end: str
    zone: str = "UTC"
    reason: str = ""


class AutomaticRollback(msgspec.Struct, frozen=True, kw_only=True):
    """The environment goes back by itself when a release fails within so many seconds."""

    within: float = 1_200.0


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One service of a promotion, with what it brings."""

    service: str
    release: str
    image: str
    sha: str = ""
    soaked_at: str = ""  # when it had been healthy long enough in the source environment


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """One person's yes."""

    by: str
    at: str


class Promotion(Record, frozen=True, kw_only=True):
    """Releases on their way into an environment as one set; with no ``source``, a push that a freeze stopped."""

    kind: ClassVar[str] = "promotion"
    id: str
    command: str  # id of the command or release event that asked; its decision has the answer
    project: str
    source: str = ""
    environment: str
    members: tuple[Member, ...]
    status: PromotionStatus
    reason: str = ""
    message: str = ""
    actor: str = ""
    why: str = ""
    override: str = ""  # why a freeze does not count
    force: bool = False
    approvals: tuple[Approval, ...] = ()
    branch: str = ""  # of the config repository, while proposed
    pull: int = 0  # the pull request of that branch, where the config repository is at a forge
    pull_url: str = ""
    pull_problem: str = ""  # why there is none
    wake_at: str = ""  # when it is to be decided again; "": by an event only
    config_commit: str = ""
    trace: str = ""
    created_at: str = ""
    finished_at: str = ""

    @property
    def key(self) -> tuple[str, ...]:
        return (self.id,)

    @property
    def pushed(self) -> bool:
        """True for a push that waits for the end of a freeze."""
        return not self.source


class Check(Record, frozen=True, kw_only=True):
    """The newest that was reported of one named check on a commit of a project."""

    kind: ClassVar[str] = "check"
    project: str
    sha: str
    name: str
    state: CheckState
    url: str = ""
    actor: str = ""
    forge: str = ""  # "github": its own word; "": reported to Enclii
    at: str = ""

    @property
    def key(self) -> tuple[str, ...]:
        return (self.project, self.sha, self.name)
