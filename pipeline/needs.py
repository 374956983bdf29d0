"""What each process needs of NATS: what it writes, takes, reads, asks and answers. The one table of it.

The bus holds its process to this table before anything leaves it, and the servers' users are made of it (rights.py), so
what is not here works nowhere: not in a test, not on one machine, not in a cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pipeline import promotions, runs
from pipeline.answers import Answer
from pipeline.build_report import BuilderState
from pipeline.entries import STREAMS, stream_of
from pipeline.event import Event
from pipeline.events import (
    DELIVERIES,
    TYPES,
    BranchDeleted,
    BuildRequested,
    CancelRequested,
    CheckAsked,
    CheckReported,
    Command,
    CommentPosted,
    ConfigMoved,
    Delivery,
    DeploymentCommitted,
    DeploymentObserved,
    DeployRequested,
    FreezeRequested,
    HoldRequested,
    ImageBuilt,
    ImageRebuilt,
    LinkRequested,
    PreviewChanged,
    PreviewRequested,
    PromotionReviewed,
    ProposalChanged,
    PullRequestChanged,
    ReleaseReady,
    RepositoryMoved,
    ResumeRequested,
    RetentionRequested,
    RollbackRequested,
    ServicesDeclared,
    WaitEnded,
)
from pipeline.origin import HookOrigin, Origin
from pipeline.previews import Activity, Preview, PullRequest
from pipeline.principals import Token
from pipeline.record import Record
from pipeline.records import (
    ConfigTip,
    Decision,
    Deployment,
    Image,
    Live,
    Observer,
    Parked,
    Project,
    Release,
    Repository,
    Route,
    ServiceRecord,
    Shed,
    Target,
    Verdict,
)

ALL_STREAMS: Final = (*STREAMS, "AUDIT")
SETUP: Final = "setup"
BACKUP: Final = "backup"
EVENTS: Final = tuple(TYPES.values())


@dataclass(frozen=True)
class Takes:
    """A durable consumer: its name, which is its stage's, and the events that it takes."""

    name: str
    events: tuple[type[Event], ...]

    @property
    def subjects(self) -> tuple[str, ...]:
        return tuple(subject_of(kind) for kind in self.events)

    @property
    def stream(self) -> str:
        return stream_of(self.subjects[0])


@dataclass(frozen=True)
class Needs:
    """What one process needs. What is not said it may not.

    ``reads`` are the records that it replays or follows, ``follows`` other subjects; of ``streams`` it reads single
    messages, ``api`` is what it asks JetStream itself beside that.
    """

    process: str
    writes: tuple[type[Record], ...] = ()
    publishes: tuple[type[Event], ...] = ()
    appends: tuple[str, ...] = ()
    takes: tuple[Takes, ...] = ()
    reads: tuple[type[Record], ...] = ()
    follows: tuple[str, ...] = ()
    streams: tuple[str, ...] = ("PIPE",)
    asks: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    api: tuple[str, ...] = ()

    @property
    def replayed(self) -> tuple[str, ...]:
        """The subjects that it replays or follows."""
        return (*(f"st.{kind.kind}.*" for kind in self.reads), *self.follows)


def subject_of(kind: type[Event]) -> str:
    """Where events of a kind are, as a consumer's filter and as a user's right say it."""
    return f"{DELIVERIES}.>" if kind is Delivery else f"ev.{kind.type}.*"


COMMITTER_TAKES: Final[tuple[type[Event], ...]] = (
    ReleaseReady, LinkRequested, ConfigMoved, DeploymentObserved, PromotionReviewed, ProposalChanged, CheckReported,
    FreezeRequested, WaitEnded, PreviewChanged, ServicesDeclared, *Command.__subclasses__(),
)  # fmt: skip

_TABLE: Final = (
    Needs("receiver", publishes=(Delivery,), reads=(Repository,), streams=("PIPE", "HOOKS")),
    Needs(
        "githost",
        writes=(runs.Push, Decision),
        publishes=(Delivery, LinkRequested, ConfigMoved),
        reads=(runs.Push,),
    ),
    Needs(
        "planner",
        writes=(
            runs.Run, runs.Job, runs.Branch, Decision, Image, Origin, HookOrigin, Preview, PullRequest, Activity, Shed,
            Parked,
        ),
        publishes=(
            BuildRequested, ImageBuilt, ServicesDeclared, PullRequestChanged, CommentPosted, CheckAsked, BranchDeleted,
            RepositoryMoved, PreviewRequested, PreviewChanged,
        ),
        takes=(
            Takes("planner", (Delivery,)),
            Takes("canceller", (CancelRequested,)),
            Takes("planner-deploys", (DeployRequested,)),
            Takes("previews", (PreviewRequested, PullRequestChanged)),
            Takes("retention", (RetentionRequested,)),
        ),
        reads=(
            Origin, Repository, Image, Preview, ServiceRecord, Target, Activity, PullRequest, Project, Release, Live,
            Deployment, Route, promotions.Promotion, runs.Run, runs.Job,
        ),
        answers=("hits.preview", "rq.retention.*"),
        api=("STREAM.INFO.LOGS", "STREAM.PURGE.LOGS"),
    ),
    Needs(
        "builder",
        writes=(runs.Job, Decision, BuilderState, Parked),
        publishes=(ImageBuilt, ImageRebuilt),
        appends=("log.build.*",),
        takes=(Takes("builder", (BuildRequested,)), Takes("reproducer", (ReleaseReady,))),
        asks=("hint.builder.idle",),
        answers=("rq.build_secrets.*", "hint.builder.idle"),
    ),
    Needs(
        "signer",
        writes=(runs.Job, ServiceRecord, Release, Image, Decision, Parked),
        publishes=(ReleaseReady,),
        takes=(Takes("signer", (ImageBuilt,)), Takes("witness", (ImageRebuilt,))),
    ),
    Needs(
        "committer",
        writes=(
            Project, Repository, Target, Deployment, Decision, ConfigTip, promotions.Promotion, promotions.Check,
            Release, ServiceRecord, Verdict, runs.Job, Parked,
        ),
        publishes=(ConfigMoved, DeploymentCommitted, WaitEnded),
        appends=("lease.committer.*",),
        takes=(Takes("committer", COMMITTER_TAKES),),
        reads=(Target, Project, promotions.Promotion, Live, runs.Run),
        streams=("PIPE", "LEASES"),
        api=("STREAM.INFO.PIPE",),
    ),
    Needs(
        "syncer",
        writes=(Live, Deployment, Route, Observer, Verdict, Decision),
        publishes=(DeploymentObserved,),
        appends=("lease.syncer.*",),
        reads=(Target, Project),
        streams=("PIPE", "LEASES"),
        answers=("rq.clusters.*", "rq.exec.*", "rq.secrets.*"),
    ),
    Needs("door", reads=(Route,), asks=("hits.preview",)),
    Needs(
        "forge",
        writes=(Answer, Origin, Decision, Parked),
        publishes=(
            Delivery, PullRequestChanged, PreviewRequested, LinkRequested, ConfigMoved, ProposalChanged, CheckReported,
            DeployRequested, RollbackRequested, HoldRequested, ResumeRequested,
        ),
        takes=(
            Takes("forge-comments", (CommentPosted,)),
            Takes("forge-others", (CheckAsked, RepositoryMoved)),
        ),
        reads=(
            Answer, Origin, Repository, Target, ServiceRecord, PullRequest, Preview, Decision, Deployment,
            promotions.Promotion, runs.Run, runs.Job,
        ),
    ),
    Needs(
        "console",
        writes=(Token, Parked),
        publishes=EVENTS,  # a parked one goes through again by its hand
        appends=("web.>", "login.>", "audit.*.*"),
        reads=(runs.Job, Decision),
        follows=("st.>", "st.decision.>", "ev.>", "audit.>", "log.build.*", "web.of.*.*"),
        streams=ALL_STREAMS,
        asks=("rq.>",),
        api=("STREAM.INFO.PIPE", "STREAM.INFO.AUDIT", "CONSUMER.LIST.PIPE", "CONSUMER.LIST.HOOKS"),
    ),
)  # fmt: skip

NEEDS: Final[Mapping[str, Needs]] = {one.process: one for one in _TABLE}
