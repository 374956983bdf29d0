"""Previews: what of a pull request or branch runs under an address of its own, and until when.

A preview is an environment of its project that no branch of ``project.yaml`` feeds: its manifests lie in the config
repository like any other's. The record says what git does not: the state, the last activity, the approval.
"""

from __future__ import annotations

import re
from typing import ClassVar, Literal

import msgspec

from pipeline.domains import Entrance, Tls
from pipeline.names import token
from pipeline.record import Record

LABEL = 63
PreviewState = Literal["waiting", "building", "ready", "failed", "asleep", "removing", "removed"]
GONE: frozenset[PreviewState] = frozenset({"removing", "removed"})
"""The states of a preview that is not wanted any more."""
HITS = "hits.preview"
"""The front door's word that a request came; the body is the host name."""
SCOPE = "preview"
"""The environment whose secrets previews get, and nothing else."""
PREFIX = "preview-"
"""What the environments of previews are called, and no other."""


class BaseServices(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Services of an environment that previews reach (``shared``), or get one of their own of (``copied``)."""

    environment: str = ""
    shared: tuple[str, ...] = ()
    copied: tuple[str, ...] = ()


class PreviewRules(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``previews`` of ``project.yaml``; 0 and "" mean: as the installation has it."""

    enabled: bool = True
    automatic: bool = False  # a pull request that is opened gets one unasked, unless it is a draft or from a fork
    domain: str = ""
    cap: int = 0  # open at the same time
    idle: float = 0.0  # seconds without activity until it is removed
    sleep: float = 0.0  # seconds without a request until its containers end
    cluster: str = ""
    internet: bool = False  # may reach public addresses
    tls: Tls | None = None
    entrance: Entrance = Entrance()
    base: BaseServices = BaseServices()


class PreviewRef(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which preview a run and its releases are of, and how its services are called from outside."""

    environment: str
    repository: str = ""  # the preview's own, by number; "": as the run's
    number: int = 0  # of the pull request; 0: of a branch
    branch: str = ""
    label: str = ""  # "pr-12" or the branch as a label; what the host names begin with
    domain: str = ""
    suffix: str = ""  # against another preview that would be called the same
    fork: bool = False
    internet: bool = False  # may reach public addresses

    def key(self, repository: str) -> tuple[str, ...]:
        """The preview's identity, for a run or release of the registered ``repository``."""
        return key_of(self.repository or repository, self.number, self.branch)

    def host(self, service: str) -> str:
        """``pr-12-web.preview.localhost``; what would be too long for a label ends in a hash."""
        name = f"{self.label}-{service}{self.suffix}"
        short = name if len(name) <= LABEL else f"{name[: LABEL - 9].rstrip('-')}-{token(name)[:8]}"
        return f"{short}.{self.domain}"


class PreviewService(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One service of a preview."""

    name: str
    host: str = ""  # "": it listens on nothing
    address: str = ""  # where people reach it; "" like ``host``
    status: Literal["building", "failed", "committed", "running", "degraded", "asleep"] = "building"
    reason: str = ""
    message: str = ""
    release: str = ""  # release id of what was deployed last
    sha: str = ""  # the commit of that release
    copied: bool = False  # as it is deployed in the base environment, not built for the preview


class Preview(Record, frozen=True, kw_only=True):
    """One preview. It is found by repository and number (or branch) alone, whatever else changed meanwhile."""

    kind: ClassVar[str] = "preview"
    id: str  # "shop.preview-12"
    project: str
    repository: str  # by number
    number: int = 0  # of the pull request; 0: of a branch
    branch: str = ""  # of a preview without pull request
    environment: str = ""  # "preview-12"
    ref: PreviewRef | None = None
    state: PreviewState
    reason: str = ""
    message: str = ""
    sha: str = ""  # the head that is built or runs
    head: str = ""  # the one that waits to be, where that is another
    run: str = ""  # the run that builds it
    services: tuple[PreviewService, ...] = ()
    chosen: tuple[str, ...] = ()  # services that were asked for; empty: all
    fork: bool = False
    draft: bool = False
    author: str = ""
    approved: str = ""  # the full commit that somebody with the right has read
    approved_by: str = ""
    omitted: tuple[str, ...] = ()  # secrets that it does not get, by name
    by: str = ""  # who asked for it
    created_at: str = ""
    active_at: str = ""  # last request, push or command
    idle: float = 0.0  # seconds without activity after which it is removed
    expires_at: str = ""
    warned_at: str = ""
    pinned_until: str = ""  # by ``extend``
    removed_at: str = ""
    left: tuple[str, ...] = ()  # while it is removed: what there still is of it

    @property
    def key(self) -> tuple[str, ...]:
        return key_of(self.repository, self.number, self.branch)

    @property
    def newest(self) -> str:
        """The head that is wanted, whether it may be built yet or not."""
        return self.head or self.sha


class PullRequest(Record, frozen=True, kw_only=True):
    """How a pull request stood when its forge was last heard of."""

    kind: ClassVar[str] = "pull_request"
    repository: str
    number: int
    state: Literal["open", "closed"]
    head: str
    head_ref: str = ""
    base: str = ""
    fork: bool = True
    draft: bool = False
    author: str = ""
    updated_at: str = ""
    head_at: str = ""  # by the forge's clock: the head was this one then, and has been since

    @property
    def key(self) -> tuple[str, ...]:
        return (self.repository, str(self.number))


class Activity(Record, frozen=True, kw_only=True):
    """When a request last came for a preview's host name; heard from the front door."""

    kind: ClassVar[str] = "activity"
    host: str
    at: str

    @property
    def key(self) -> tuple[str, ...]:
        return (self.host,)


def key_of(repository: str, number: int, branch: str) -> tuple[str, ...]:
    """The identity of a preview: the repository's number with the pull request's number, or with a branch."""
    return (repository, "pull", str(number)) if number else (repository, "branch", branch)


def inventory(one: Preview) -> tuple[str, ...]:
    """All that is made for a preview, by kind and name; once it is removed there is nothing."""
    if one.state == "removed":
        return ()
    found = [f"namespace or network: {one.project}-{one.environment}"]
    for service in one.services:
        found += [f"git: {one.project}/{one.environment}/{service.name}", f"cluster: {service.name}"]
        found += [f"name: {service.host}"] if service.host else []
        found += [] if service.copied else [f"images: {repository_of(one.project, service.name, one.environment)}"]
    return tuple(found)


def labelled(number: int, branch: str) -> str:
    """``pr-12``, or a branch as a part of a host name: two branches that would be told alike end in a hash."""
    if number:
        return f"pr-{number}"
    plain = re.sub(r"[^a-z0-9]+", "-", branch.lower()).strip("-")[:24].strip("-")
    same = plain == branch and not re.fullmatch(r"pr-[0-9]+|[0-9]+", plain)
    return plain if same else f"{plain or 'b'}-{token(branch)[:6]}"


def environment_of(number: int, branch: str) -> str:
    """``preview-12`` or ``preview-new-checkout``."""
    return f"{PREFIX}{number}" if number else f"{PREFIX}{labelled(0, branch)}"[:40].rstrip("-")


def mark_of(key: tuple[str, ...]) -> str:
    """Five characters that keep two previews apart whose names would be the same."""
    return token(*key)[:5]


def repository_of(project: str, service: str, trust: str = "main") -> str:
    """Where a service's images lie in the registry; each preview has its own path, so that it is shed as a whole."""
    plain = f"{project}/{service}"
    return plain if trust == "main" else f"{plain}/previews/{trust}"


def is_preview_image(image: str) -> bool:
    """True for an image from a preview's path of the registry."""
    return "/previews/" in image


def is_preview(environment: str) -> bool:
    """True for the environment of a preview."""
    return environment.startswith(PREFIX)
