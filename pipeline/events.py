"""Everything that happens, as small frozen messages in the past tense, with ids derived from content.

A subject is ``ev.<type>.<token of the id>`` and is written once (create-only), so publishing twice is publishing once,
for as long as the stream lives. A command is an event too: somebody *requested* something. Fields are only ever
added, with a default; ``version`` grows when a meaning changes.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from pipeline.event import Event as Event
from pipeline.forge_events import BranchDeleted as BranchDeleted
from pipeline.forge_events import CheckAsked as CheckAsked
from pipeline.forge_events import CommentPosted as CommentPosted
from pipeline.forge_events import PullRequestChanged as PullRequestChanged
from pipeline.forge_events import RepositoryMoved as RepositoryMoved
from pipeline.names import token
from pipeline.preview_events import PreviewChanged as PreviewChanged
from pipeline.preview_events import PreviewRequested as PreviewRequested
from pipeline.said import CheckSaid, CommentSaid, PullSaid

DELIVERIES = "hooks.d"


class Delivery(Event, frozen=True, kw_only=True):
    """A forge or the git host said that something happened. A hint: the head is asked of the repository itself.

    Kept in its own stream, under ``hooks.d.<token>.<attempt>``; ``body`` is the raw request body, zlib-compressed.
    """

    type: ClassVar[str] = "delivery.received"
    forge: str
    kind: str  # "push", "ping", "sweep", "pull_request", "comment" or the forge's own event name
    repository: str  # "local:shop/shop", "github:123456"
    hook: str = ""
    ref: str = ""
    before: str = ""
    after: str = ""
    actor: str = ""
    attempt: int = 0
    service: str = ""  # only this one
    no_cache: bool = False
    body_sha256: str = ""
    secret_id: str = ""
    body: bytes = b""
    name: str = ""  # the repository's owner and name, as the forge has them at the moment
    action: str = ""
    pull: PullSaid | None = None
    comment: CommentSaid | None = None
    check: CheckSaid | None = None

    @property
    def subject(self) -> str:
        return f"{DELIVERIES}.{token(self.id)}.{self.attempt}"


class ServicesDeclared(Event, frozen=True, kw_only=True):
    """The head of a branch has other services than the head before it, or nobody knows which that had.

    ``id`` = run/services. Who acts on it compares with the branch's record first: a newer push may say otherwise.
    """

    type: ClassVar[str] = "services.declared"
    project: str
    repository: str
    ref: str
    sha: str
    services: tuple[str, ...]  # sorted names
    actor: str = ""


class BuildRequested(Event, frozen=True, kw_only=True):
    """The planner wants one service of a run as an image. ``id`` = run/service."""

    type: ClassVar[str] = "build.requested"
    run: str
    project: str
    service: str
    repository: str
    source_url: str
    ref: str
    sha: str
    tree: str
    build_key: str
    spec: msgspec.Raw  # ServiceSpec as JSON
    commit_time: int  # seconds since the epoch
    source: str  # digest of the service's sources as a tar blob, beside its images in the registry
    dockerfile: str  # within the service's path
    bases: dict[str, str] = msgspec.field(default_factory=dict)  # image reference → digest, resolved by the planner
    no_cache: bool = False
    builds: Literal["dockerfile", "buildpacks"] = "dockerfile"
    detected: str = ""  # why it is built so, in words
    trust: str = "main"  # class of the build: "main", or what names a preview or fork; decides cache and secrets


class ImageBuilt(Event, frozen=True, kw_only=True):
    """An image is in the registry, with its SBOMs as blobs beside it; or a known image is to be used again.

    ``sbom`` and ``cyclonedx`` are the blobs' digests; ``builder`` is what built it, by name and version.
    """

    type: ClassVar[str] = "image.built"
    run: str
    project: str
    service: str
    image: str
    sbom: str
    build_key: str
    cyclonedx: str = ""
    builds: Literal["dockerfile", "buildpacks"] = "dockerfile"
    builder: str = ""
    reused: bool = False
    started_at: str = ""
    finished_at: str = ""
    bases: dict[str, str] = msgspec.field(default_factory=dict)
    commit_time: int = 0
    isolation: str = ""  # class of the build's isolation


class ImageRebuilt(Event, frozen=True, kw_only=True):
    """A sampled image was built a second time, without any cache. ``id`` = run/service.

    ``rebuilt`` is the second one's digest; "" when it could not be built, for the reason in ``failure``.
    """

    type: ClassVar[str] = "image.rebuilt"
    run: str
    project: str
    service: str
    image: str
    rebuilt: str
    build_key: str
    failure: str = ""
    builder: str = ""
    started_at: str = ""
    finished_at: str = ""


class ReleaseReady(Event, frozen=True, kw_only=True):
    """A release is signed, read back and numbered. ``id`` = run/service."""

    type: ClassVar[str] = "release.ready"
    release: str
    run: str
    project: str
    service: str


class LinkRequested(Event, frozen=True, kw_only=True):
    """A repository is to be registered with a project; the committer writes ``project.yaml``."""

    type: ClassVar[str] = "link.requested"
    project: str
    repository: str
    name: str
    forge: str
    url: str
    actor: str
    branches: dict[str, str] = msgspec.field(default_factory=dict)  # environment → branch
    protected: tuple[str, ...] = ()
    hook: str = ""  # a proposal: a repository keeps the hook that it has, unless ``rotate`` is set
    rotate: bool = False
    credential: str = ""


class Command(Event, frozen=True, kw_only=True):
    """Base of what people ask for one service (or, with no service, for every service) in one environment."""

    project: str
    environment: str
    service: str = ""
    actor: str = ""
    why: str = ""


class RollbackRequested(Command, frozen=True, kw_only=True):
    """Go back to ``to`` (a release number) or, with 0, to the last release that was healthy; then hold.

    ``expected`` is the deployment that the person saw live: when it is no longer the newest, somebody else was
    faster and the command is refused instead of going back twice.
    """

    type: ClassVar[str] = "rollback.requested"
    to: int = 0
    hold: bool = True
    expected: str = ""
    set: str = ""  # the promotion whose services go back together, instead of one service


class HoldRequested(Command, frozen=True, kw_only=True):
    """Keep what is live; newer releases wait."""

    type: ClassVar[str] = "hold.requested"


class ResumeRequested(Command, frozen=True, kw_only=True):
    """Take the hold away and deploy the newest release that waited."""

    type: ClassVar[str] = "resume.requested"


class DeployRequested(Command, frozen=True, kw_only=True):
    """Deploy the commit ``sha`` again: its newest release if it has one, else by a new run."""

    type: ClassVar[str] = "deploy.requested"
    sha: str = ""
    repository: str = ""  # with ``ref``: where the commit is found when it has no release yet
    ref: str = ""
    release: str = ""
    force: bool = False
    fresh: bool = False  # build it again though its image is known
    no_cache: bool = False
    override_freeze: str = ""  # why a freeze does not count


class DestroyRequested(Command, frozen=True, kw_only=True):
    """Delete the service's directory from the config repository."""

    type: ClassVar[str] = "destroy.requested"


class AdoptRequested(Command, frozen=True, kw_only=True):
    """Take files in the config repository that belong to people under management, by adding one file of Enclii's own.

    With ``running`` the file is first written: ``manifest``, what runs under that name, as the API read it.
    ``expected`` is the token of the plan that a person saw: when the files are others now, nothing is written.
    """

    type: ClassVar[str] = "adopt.requested"
    path: str = ""
    targets: tuple[str, ...] = ()  # which of several, as the plan spells them
    plan: bool = False  # say what would be edited, write nothing
    expected: str = ""
    running: str = ""  # NAMESPACE/DEPLOYMENT on ``cluster``, in place of a path
    cluster: str = ""
    manifest: str = ""


class PromotionRequested(Command, frozen=True, kw_only=True):
    """Bring what ``services`` run in ``source`` into ``environment``: the same digests, as one set."""

    type: ClassVar[str] = "promotion.requested"
    source: str = ""  # "": where project.yaml says that the environment is entered from
    services: tuple[str, ...] = ()
    override_freeze: str = ""  # why a freeze does not count
    force: bool = False  # even where a commit does not descend from what is deployed


class PromotionReviewed(Event, frozen=True, kw_only=True):
    """Somebody said yes or no to a promotion."""

    type: ClassVar[str] = "promotion.reviewed"
    promotion: str
    verdict: Literal["approved", "rejected"]
    actor: str = ""
    why: str = ""


class CheckReported(Event, frozen=True, kw_only=True):
    """A named check of a commit began or ended; the newest report counts."""

    type: ClassVar[str] = "check.reported"
    project: str
    sha: str
    name: str
    state: Literal["pending", "success", "failure"]
    url: str = ""
    actor: str = ""
    forge: str = ""  # which says so itself; "": whoever reported it


class ProposalChanged(Event, frozen=True, kw_only=True):
    """A promotion's branch got a pull request on the config repository's forge, could not get one, or lost it."""

    type: ClassVar[str] = "proposal.changed"
    promotion: str
    state: Literal["open", "closed", "unopened"]  # closed: without a merge
    number: int = 0
    url: str = ""
    problem: str = ""  # why it could not be opened


class FreezeRequested(Event, frozen=True, kw_only=True):
    """Stop everything new everywhere, or end that; rollbacks go on."""

    type: ClassVar[str] = "freeze.requested"
    frozen: bool
    actor: str = ""
    why: str = ""


class WaitEnded(Event, frozen=True, kw_only=True):
    """What a promotion waited for may be there: a hint to decide it again."""

    type: ClassVar[str] = "wait.ended"
    promotion: str


class SecretChanged(Command, frozen=True, kw_only=True):
    """A secret has a new version in the cluster, or is to be named no more (``number`` 0). Never its value."""

    type: ClassVar[str] = "secret.changed"
    name: str
    number: int = 0


class ScaleRequested(Command, frozen=True, kw_only=True):
    """Run so many replicas until somebody says otherwise; None: as many as ``enclii.yaml`` says."""

    type: ClassVar[str] = "scale.requested"
    replicas: int | None = None


class RestartRequested(Command, frozen=True, kw_only=True):
    """Replace every replica by a new one of the same release."""

    type: ClassVar[str] = "restart.requested"


class CancelRequested(Event, frozen=True, kw_only=True):
    """Stop a run that is still on its way."""

    type: ClassVar[str] = "cancel.requested"
    run: str
    actor: str = ""


class RetentionRequested(Event, frozen=True, kw_only=True):
    """Shed from the registry what nothing needs. ``expected``: the token of the plan that a person saw."""

    type: ClassVar[str] = "retention.requested"
    expected: str = ""
    actor: str = ""
    why: str = ""


class ConfigMoved(Event, frozen=True, kw_only=True):
    """The config branch has a new tip: a hint to whoever reads git."""

    type: ClassVar[str] = "config.moved"
    commit: str
    by: Literal["committer", "git"] = "git"


class DeploymentCommitted(Event, frozen=True, kw_only=True):
    """Git now holds this deployment. ``id`` = deployment id."""

    type: ClassVar[str] = "deployment.committed"
    deployment: str
    project: str
    environment: str
    service: str


class DeploymentObserved(Event, frozen=True, kw_only=True):
    """The observer saw a deployment change. ``id`` = deployment id/sequence of the change."""

    type: ClassVar[str] = "deployment.observed"
    deployment: str
    project: str
    environment: str
    service: str
    status: Literal["progressing", "running", "degraded", "failed"]
    reason: str = ""


def _leaves(cls: type[Event]) -> list[type[Event]]:
    below = [leaf for child in cls.__subclasses__() for leaf in _leaves(child)]
    return ([cls] if cls.type else []) + below


TYPES: dict[str, type[Event]] = {cls.type: cls for cls in _leaves(Event)}


def decode(event_type: str, data: bytes) -> Event:
    """The event of that type. Raises KeyError for an unknown type, msgspec.ValidationError for a wrong body."""
    return msgspec.json.decode(data, type=TYPES[event_type])
