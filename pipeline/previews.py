"""Previews: what of a pull request or branch runs under an address of its own, and until when.

A preview is an environment of its project that no branch of ``project.yaml`` feeds: its manifests lie in the config
repository like any other's. The record says what git does not: the state, the last activity, the approval.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from pipeline.record import Record

PreviewState = Literal["waiting", "building", "ready", "failed", "asleep", "removing", "removed"]
GONE: frozenset[PreviewState] = frozenset({"removing", "removed"})
"""The states of a preview that is not wanted any more."""
PREFIX = "preview-"
"""What the environments of previews are called, and no other."""


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


class Preview(Record, frozen=True, kw_only=True):
    """One preview. It is found by repository and number (or branch) alone, whatever else changed meanwhile."""

    kind: ClassVar[str] = "preview"
    id: str  # "shop.preview-12"
    project: str
    repository: str  # by number
    number: int = 0  # of the pull request; 0: of a branch
    branch: str = ""  # of a preview without pull request
    environment: str = ""  # "preview-12"
    state: PreviewState
    reason: str = ""
    message: str = ""
    sha: str = ""  # the head that is wanted
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

    @property
    def key(self) -> tuple[str, ...]:
        return key_of(self.repository, self.number, self.branch)


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


def is_preview(environment: str) -> bool:
    """True for the environment of a preview."""
    return environment.startswith(PREFIX)
