"""Promotions as plain values, and what people should know before they roll back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from console import paging, queries, texts
from console.projection import Projection
from console.queries import check_scope, plain, release_named
from gitops.secret_versions import outdated
from pipeline.promotions import OPEN, Promotion
from pipeline.records import Deployment, Release, Target
from pipeline.servicefile import ServiceSpec

Value = dict[str, Any]


def promotions(
    db: Projection, project: str, environment: str, limit: int, *, every: bool, after: tuple[str, ...] | None = None
) -> Value:
    """What is on its way between environments, or with ``every`` all that ever was, newest first. Raises NotFound."""
    check_scope(db, project, environment, "")
    if every:
        found, following = db.page(Promotion, limit=limit, after=after, project=project, environment=environment)
        return {"promotions": [view(one) for one in found], **paging.following(following)}
    known = db.find(Promotion, project=project, environment=environment, newest_first=True)
    shown = [one for one in known if one.status in OPEN]
    return {"promotions": [view(one) for one in shown[:limit]], **paging.following(None)}


def view(one: Promotion) -> Value:
    """One promotion; each member with its version."""
    members = [plain(member) | {"version": texts.version(member.release)} for member in one.members]
    return plain(one) | {"members": members}


def rollback_plan(db: Projection, project: str, service: str, environment: str, to: int) -> Value:
    """What a rollback would do now, with what it does not undo or take along. Raises NotFound, Refused."""
    plan = queries.rollback_plan(db, project, service, environment, to)
    target = db.get(Target, project, environment, service)
    undone = [release_named(project, service, one["version"]) for one in plan["undone"] if one["version"]]
    warnings = [*_unseen(plan), *_forgotten(db, target, plan), *_warnings(db, target, undone)] if target else []
    return plan | {"warnings": warnings}


def _unseen(plan: Value) -> list[str]:
    return (
        [f"the event store was lost since: nobody knows whether {plan['to']} was healthy"] if plan["recovered"] else []
    )


def _forgotten(db: Projection, target: Target, plan: Value) -> list[str]:
    """A rollback that would be refused says so before it is asked for."""
    deployed = db.find(Deployment, project=target.project, environment=target.environment, service=target.service)
    gone = set(outdated(target, deployed))
    listed = ", ".join(f"{one['name']} v{one['to']}" for one in plan["secrets"] if one["to"] in gone)
    return [f"the cluster does not keep {listed} any more: the rollback would be refused"] if listed else []


def _warnings(db: Projection, current: Target, undone: Sequence[str]) -> list[str]:
    found: list[str] = []
    releases = [release for one in undone if (release := db.get(Release, one)) is not None]
    jobs = [texts.version(one.id) for one in releases if _has_release_job(one, current.environment)]
    if jobs:
        found.append(f"{', '.join(jobs)} ran a release job: data migrations are not undone")
    deployed = db.get(Deployment, current.deployment)
    together = db.get(Promotion, deployed.set) if deployed is not None and deployed.set else None
    others = [one.service for one in together.members if one.service != current.service] if together else []
    if together is not None and others:
        found.append(
            f"it came with {', '.join(others)}, which stay; to take all back: enclii rollback --set {together.id}"
        )
    return found


def _has_release_job(release: Release, environment: str) -> bool:
    return msgspec.json.decode(release.spec, type=ServiceSpec).for_environment(environment).release is not None
