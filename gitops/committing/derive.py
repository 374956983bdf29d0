"""From a commit to the records that follow from it: the one road, for a commit just written and for one found later.

So a process that dies between a push and its records loses nothing: the next one reads the same commit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from msgspec.structs import replace

from gitops.committing import decisions, history
from gitops.committing.edits import Commit
from gitops.committing.snapshot import Snapshot
from gitops.hold import Hold
from gitops.layout import Place
from pipeline.events import DeploymentCommitted
from pipeline.names import deployment_id, token
from pipeline.records import Decision, Deployment, Release, Target, Via

_VIAS: Mapping[str, Via] = {
    "push": "push",
    "rollback": "rollback",
    "resume": "resume",
    "deploy": "deploy",
    "promotion": "promotion",
    "secret": "secret",
    "scale": "scale",
    "restart": "restart",
}


@dataclass(frozen=True)
class Derived:
    """What follows from one commit for one place."""

    target: Target
    deployment: Deployment | None = None
    undone: tuple[str, ...] = ()
    """Ids of deployments that this commit rolled back."""
    removed: str = ""
    """Id of the deployment that this commit removed."""
    decision: Decision | None = None

    @property
    def event(self) -> DeploymentCommitted | None:
        """The event for whoever acts on new deployments."""
        if self.deployment is None:
            return None
        one = self.deployment
        return DeploymentCommitted(
            id=one.id,
            at=one.created_at,
            deployment=one.id,
            project=one.project,
            environment=one.environment,
            service=one.service,
        )


def of_own(commit: Commit, place: Place, *, before: Target | None, tree: str, hold: Hold | None) -> Derived:
    """From a commit that Enclii wrote; its trailers say all."""
    said = commit.trailers
    deployment = _own_deployment(commit, place) if "Image" in said else None
    base = before or _nothing(place)
    target = replace(with_hold(base, hold, by=commit), tree=tree)
    if not tree:
        target = gone(base, commit.id)
    elif deployment is not None:
        target = _moved(target, deployment, tree)
    return Derived(
        target=target,
        deployment=deployment,
        undone=tuple(deployment_id(reverted, *place) for reverted in said.get("Reverts", "").split()),
        removed=base.deployment if not tree else "",
        decision=decisions.of_own(commit, place),
    )


def of_foreign(commit: Commit, place: Place, *, kind: str, before: Target | None, after: Snapshot) -> Derived:
    """From a commit by another hand, once history.classify said what it is."""
    base = before or _nothing(place)
    decision = decisions.of_foreign(commit, place, kind, after)
    if kind == "removal":
        return Derived(gone(base, commit.id), removed=base.deployment, decision=decision)
    target = replace(with_hold(base, after.hold, by=commit), tree=after.tree)
    if kind in ("held", "nothing") or (kind == "resume" and after.image == base.image):
        return Derived(target, decision=decision if kind != "nothing" else None)
    deployment = Deployment(
        id=deployment_id(commit.id, *place),
        project=place.project,
        environment=place.environment,
        service=place.service,
        release=after.release,
        image=after.image,
        status="pending",
        config_commit=commit.id,
        sha=after.sha,
        actor=commit.author,
        via="git",
        created_at=commit.at,
        reverts=base.config_commit if kind == "rollback" else "",
    )
    return Derived(_moved(target, deployment, after.tree), deployment, decision=decision)


def wish(release: Release, place: Place, status: Literal["held", "failed"], *, reason: str, message: str) -> Deployment:
    """A deployment that did not come about: it waits behind a hold, or a check refused it."""
    return Deployment(
        id=wish_id(release.id, place),
        project=place.project,
        environment=place.environment,
        service=place.service,
        release=release.id,
        image=release.image,
        status=status,
        reason=reason,
        message=message,
        sha=release.sha,
        run=release.run,
        actor=release.actor,
        created_at=release.created_at,
    )


def wish_id(release: str, place: Place) -> str:
    """The id of a release's deployment that git does not hold."""
    return "d-" + token("wish", release, place.environment)[:12]


def with_hold(target: Target, hold: Hold | None, *, by: Commit) -> Target:
    """The target with the hold that git says, or without."""
    if hold is None:
        return replace(target, held=False, hold_reason="", hold_by="", hold_since="", hold_from="")
    return replace(
        target,
        held=True,
        hold_reason=hold.why,
        hold_by=hold.by or by.author,
        hold_since=hold.at or by.at,
        hold_from=hold.release or target.hold_from or target.release,
    )


def gone(target: Target, commit: str) -> Target:
    """The target of a service whose directory is no more."""
    empty = _nothing(Place(target.project, target.environment, target.service))
    return replace(empty, config_commit=commit, recent=target.recent)


def _nothing(place: Place) -> Target:
    return Target(
        project=place.project,
        environment=place.environment,
        service=place.service,
        deployment="",
        release="",
        image="",
        sha="",
        config_commit="",
    )


def _moved(target: Target, deployment: Deployment, tree: str) -> Target:
    waits = target.held_release if target.held and target.held_release != deployment.release else ""
    earlier = (one for one in target.recent if one != deployment.id)
    return replace(
        target,
        deployment=deployment.id,
        release=deployment.release,
        image=deployment.image,
        sha=deployment.sha,
        config_commit=deployment.config_commit,
        tree=tree,
        held_release=waits,
        recent=(*earlier, deployment.id)[-history.RECENT :],
    )


def _own_deployment(commit: Commit, place: Place) -> Deployment:
    said = commit.trailers
    return Deployment(
        id=deployment_id(commit.id, *place),
        project=place.project,
        environment=place.environment,
        service=place.service,
        release=said.get("Release", ""),
        image=said["Image"],
        status="pending",
        config_commit=commit.id,
        sha=said.get("Commit", ""),
        run=said.get("Run", ""),
        actor=commit.author,
        via=_VIAS.get(said.get("Via", ""), "deploy"),
        reverts=said.get("Reverts", ""),
        set=said.get("Set", "") if said.get("Via") == "promotion" else "",
        created_at=commit.at,
        trace=said.get("Trace", ""),
    )
