"""The stages' state: frozen records, one subject each, the newest version alone kept.

Records live in the same stream as events, so that one atomic batch can carry both (see bus.py). ``key`` names the
record among its kind; the subject token is its hash. Times are RFC 3339 in UTC. Fields are only ever added, with a
default, because an older process may read what a newer one wrote.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from pipeline.answers import Answer as Answer
from pipeline.build_report import BuilderState as BuilderState
from pipeline.domains import Domains
from pipeline.previews import Activity as Activity
from pipeline.previews import Preview as Preview
from pipeline.previews import PreviewRef, PreviewRules
from pipeline.previews import PullRequest as PullRequest
from pipeline.principals import Token as Token
from pipeline.promotions import AutomaticRollback, FreezeWindow, PromotionRule
from pipeline.promotions import Check as Check
from pipeline.promotions import Promotion as Promotion
from pipeline.record import Record as Record
from pipeline.runs import Branch as Branch
from pipeline.runs import Job as Job
from pipeline.runs import JobStatus as JobStatus
from pipeline.runs import Push as Push
from pipeline.runs import Run as Run
from pipeline.runs import RunStatus as RunStatus
from pipeline.runs import Stage as Stage

ReleaseStatus = Literal["building", "ready", "failed"]
DeploymentStatus = Literal[
    "pending", "progressing", "running", "degraded", "failed", "held", "rolled_back", "orphaned", "replaced", "removed",
    "unknown",
]  # fmt: skip
Via = Literal["push", "rollback", "resume", "deploy", "git", "destroy", "promotion", "secret", "scale", "restart"]
Health = Literal["healthy", "unhealthy", "unknown"]
Outcome = Literal["accepted", "skipped", "refused", "failed", "held", "duplicate", "forced", "waiting"]


class Repository(Record, frozen=True, kw_only=True):
    """A registered source repository; derived from ``project.yaml`` by the committer."""

    kind: ClassVar[str] = "repository"
    id: str  # "local:shop/shop", "github:123456" or, before the first delivery, "github:owner/name"
    project: str
    name: str
    forge: str  # "local", "github", "gitlab", "gitea", "forgejo", "bitbucket"
    url: str  # where its commits are fetched from; never taken from a payload
    hook: str = ""  # token in /hooks/<forge>/<hook>
    credential: str = ""  # name of the credential file, never its content

    @property
    def key(self) -> tuple[str, ...]:
        return (self.id,)


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """One environment of a project: the branch that feeds it, and what it asks before a release enters it."""

    name: str
    branch: str  # "": entered by promotion alone
    protected: bool = False
    cluster: str = ""  # "": the installation's default
    namespace: str = ""  # "": after project and environment
    pull_secret: str = ""  # the Secret by which the cluster pulls images; "": it has its own way
    drift: Literal["heal", "keep"] = "heal"
    promotion: PromotionRule | None = None
    freeze: tuple[FreezeWindow, ...] = ()
    rollback: AutomaticRollback | None = None
    domains: Domains = Domains()
    roles: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)  # viewer, deployer, admin → who, here alone
    chatops: dict[str, str] = msgspec.field(default_factory=dict)  # verb → least level on the forge; none: off


class Project(Record, frozen=True, kw_only=True):
    """A project as ``project.yaml`` says at the config branch's tip."""

    kind: ClassVar[str] = "project"
    slug: str
    environments: tuple[Environment, ...] = ()
    repositories: tuple[str, ...] = ()
    roles: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)  # role → its people
    chatops: dict[str, str] = msgspec.field(default_factory=dict)  # preview, approve → least level on the forge
    previews: PreviewRules = PreviewRules()
    notifications: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)  # destination → what it is told of
    created_at: str = ""

    @property
    def key(self) -> tuple[str, ...]:
        return (self.slug,)


class Image(Record, frozen=True, kw_only=True):
    """A built and signed image by its build key: a known key means no build."""

    kind: ClassVar[str] = "image"
    build_key: str
    image: str
    sbom: str  # digest of the SPDX blob in the same repository of the registry
    source_url: str
    sha: str
    run: str
    provenance: str = ""  # digest of the provenance's manifest, once signed
    user: str = ""  # as the image's configuration names it
    bases: dict[str, str] = msgspec.field(default_factory=dict)  # base image → the digest that it was built from
    built_at: str = ""

    @property
    def key(self) -> tuple[str, ...]:
        return (self.build_key,)


class ServiceRecord(Record, frozen=True, kw_only=True):
    """A service's release counter."""

    kind: ClassVar[str] = "service"
    project: str
    service: str
    last_release: int
    repository: str = ""
    preview: str = ""  # environment of the preview whose releases are counted here

    @property
    def key(self) -> tuple[str, ...]:
        return (self.project, self.service, *((self.preview,) if self.preview else ()))


class Release(Record, frozen=True, kw_only=True):
    """A signed image with its configuration, numbered per service when it is ready."""

    kind: ClassVar[str] = "release"
    id: str  # "shop.web.v41"
    project: str
    service: str
    number: int
    image: str
    sha: str
    ref: str
    repository: str
    source_url: str
    actor: str
    subject_line: str
    run: str
    spec: msgspec.Raw  # the ServiceSpec as JSON
    resumes: tuple[str, ...] = ()  # environments that the commit's Enclii-Resume trailers name
    reused: bool = False
    user: str = ""  # of the image: a number, a name or nothing
    created_at: str = ""
    preview: PreviewRef | None = None  # the only place where it may go; None: the environments of its branch

    @property
    def key(self) -> tuple[str, ...]:
        return (self.id,)


class Deployment(Record, frozen=True, kw_only=True):
    """One release in one environment, by one config commit (or the wish for one: ``held``, ``failed`` at the gate)."""

    kind: ClassVar[str] = "deployment"
    id: str
    project: str
    environment: str
    service: str
    release: str  # release id; "" when the digest is of no known release
    image: str
    status: DeploymentStatus
    reason: str = ""
    message: str = ""
    config_commit: str = ""
    sha: str = ""
    run: str = ""
    actor: str = ""
    via: Via = "push"
    reverts: str = ""
    set: str = ""  # id of the promotion that brought it, with others or alone
    created_at: str = ""
    since: str = ""  # when the observer saw it become what ``status`` says
    running_at: str = ""
    finished_at: str = ""
    dead_logs: tuple[str, ...] = ()  # last lines of each dead container, newest last
    secrets: dict[str, int] = msgspec.field(default_factory=dict)  # name → version
    trace: str = ""  # W3C traceparent of what asked for it
    recovered: bool = False  # out of git alone, after the event store was lost: whether it ever ran is not known

    @property
    def key(self) -> tuple[str, ...]:
        return (self.id,)


class SecretVersion(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which version of a secret the next deployment names, and who set it when; values are in the cluster."""

    version: int
    by: str = ""
    at: str = ""


class Target(Record, frozen=True, kw_only=True):
    """What the config branch's tip says of one service in one environment: the committer's reading of git."""

    kind: ClassVar[str] = "target"
    project: str
    environment: str
    service: str
    deployment: str  # newest deployment that git holds; "" once removed
    release: str
    image: str
    sha: str
    config_commit: str
    tree: str = ""
    held: bool = False
    hold_reason: str = ""
    hold_by: str = ""
    hold_since: str = ""  # time
    hold_from: str = ""  # release id that was live when the hold began
    held_release: str = ""  # newest release that waits behind the hold
    orphaned: bool = False
    secrets: dict[str, SecretVersion] = msgspec.field(default_factory=dict)
    scaled: int | None = None  # the count that somebody scaled to
    recent: tuple[str, ...] = ()  # ids of the newest deployments that git had or has here, newest last

    @property
    def key(self) -> tuple[str, ...]:
        return (self.project, self.environment, self.service)


class ReplicaView(msgspec.Struct, frozen=True, kw_only=True):
    """One observed replica."""

    name: str
    state: str
    digest: str = ""
    restarts: int = 0
    started_at: str = ""
    reason: str = ""
    address: str = ""
    node: str = ""  # the machine that it runs on


class Live(Record, frozen=True, kw_only=True):
    """What the observer saw of one service in one environment; ``status`` is running only by proof of digest."""

    kind: ClassVar[str] = "live"
    project: str
    environment: str
    service: str
    deployment: str
    release: str
    image: str
    status: DeploymentStatus
    health: Health
    ready: int
    desired: int
    replicas: tuple[ReplicaView, ...] = ()
    since: str = ""  # when this deployment began to run
    healthy_since: str = ""  # since when it runs without a break; "" while it does not
    address: str = ""
    drift: tuple[str, ...] = ()  # how the cluster differs from git, for people
    reason: str = ""
    at: str = ""
    removed: str = ""  # the config commit that took the service away, once nothing of it is left

    @property
    def key(self) -> tuple[str, ...]:
        return (self.project, self.environment, self.service)


class Observer(Record, frozen=True, kw_only=True):
    """That somebody observed without a break from ``since`` to ``at``; what is older than that nobody vouches for."""

    kind: ClassVar[str] = "observer"
    NAME: ClassVar[str] = "syncer"
    since: str
    at: str

    @property
    def key(self) -> tuple[str, ...]:
        return (self.NAME,)


class Route(Record, frozen=True, kw_only=True):
    """Where the front door sends a host name."""

    kind: ClassVar[str] = "route"
    host: str
    upstreams: tuple[str, ...]
    gone: bool = False  # nobody answers to it any more
    preview: bool = False  # requests are told to who looks after previews

    @property
    def key(self) -> tuple[str, ...]:
        return (self.host,)


class Decision(Record, frozen=True, kw_only=True):
    """How a delivery, command, job, release, deployment or config commit ended, and why."""

    kind: ClassVar[str] = "decision"
    id: str  # the delivery's, command's, release's or deployment's id; run/service for a job
    about: Literal["delivery", "command", "release", "commit", "job", "deployment"]
    outcome: Outcome
    reason: str
    message: str
    project: str = ""
    environment: str = ""
    service: str = ""
    repository: str = ""
    ref: str = ""
    sha: str = ""
    run: str = ""
    release: str = ""
    actor: str = ""
    attempt: int = 0
    at: str = ""
    config_commit: str = ""  # what it was done by; "" where nothing was committed

    @property
    def key(self) -> tuple[str, ...]:
        return (self.id,)


class Verdict(Record, frozen=True, kw_only=True):
    """A digest that passed verification before; keeps rollback working while the registry is down.

    ``summaries`` maps the digest of each policy that the image fulfilled to the summary that says so.
    """

    kind: ClassVar[str] = "verdict"
    image: str
    source_url: str
    shas: tuple[str, ...]
    provenance: str
    verified_at: str
    summaries: dict[str, str] = msgspec.field(default_factory=dict)
    preview: bool = False  # by the key of previews, which no other environment takes

    @property
    def key(self) -> tuple[str, ...]:
        return (self.image,)


class Shed(Record, frozen=True, kw_only=True):
    """An image that the registry need not have any more; also, by its command's id, that shedding has begun."""

    kind: ClassVar[str] = "shed"
    image: str
    at: str
    by: str  # the command

    @property
    def key(self) -> tuple[str, ...]:
        return (self.image,)


class ConfigTip(Record, frozen=True, kw_only=True):
    """The config commit up to which every record was derived."""

    kind: ClassVar[str] = "config"
    commit: str
    at: str

    @property
    def key(self) -> tuple[str, ...]:
        return ("main",)


class Parked(Record, frozen=True, kw_only=True):
    """An event that failed for good in a consumer; waits for retry or drop by a person, and ``state`` says which."""

    kind: ClassVar[str] = "parked"
    id: str
    consumer: str
    subject_parked: str
    event_type: str
    reason: str
    message: str
    attempts: int
    at: str
    state: Literal["parked", "retried", "dropped"] = "parked"

    @property
    def key(self) -> tuple[str, ...]:
        return (self.id,)


KINDS: dict[str, type[Record]] = {cls.kind: cls for cls in Record.__subclasses__()}
