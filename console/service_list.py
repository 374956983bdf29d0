"""A project's services, whole or page by page, each with what is live in one environment.

An installation may have tens of thousands: names come out of the index, and of what runs only what is shown is read.
"""

from __future__ import annotations

import datetime
from typing import Final, TypeVar

import msgspec

from console import paging, texts
from console.projection import Projection
from console.queries import Value, known_environment, known_project
from pipeline.names import service_id
from pipeline.records import Live, Record, Target

FEW: Final = 300


class TargetHead(msgspec.Struct, frozen=True, kw_only=True):
    """What a list shows of what git says."""

    service: str
    deployment: str
    orphaned: bool = False


class LiveHead(msgspec.Struct, frozen=True, kw_only=True):
    """What a list shows of what runs."""

    service: str
    deployment: str
    release: str
    status: str
    health: str
    ready: int
    desired: int
    since: str = ""


Head = TypeVar("Head", TargetHead, LiveHead)


def services(
    db: Projection, project: str, environment: str, *, include_status: bool, now: datetime.datetime,
    limit: int = 0, after: str = "",
) -> Value:  # fmt: skip
    """The services behind ``after``, ``limit`` at most (0: all); the environment is by default the first.

    Raises NotFound.
    """
    found = known_project(db, project)
    if environment:
        known_environment(db, project, environment)
    chosen = environment or next((one.name for one in found.environments), "")
    names = db.services(project, after=after, limit=limit + 1 if limit else -1)
    following = (names[limit - 1],) if limit and len(names) > limit else None
    shown = names[:limit] if limit else names
    entries: list[Value] = [{"id": service_id(project, name), "name": name} for name in shown]
    if include_status:
        lives = _heads(db, Live, LiveHead, (project, chosen), shown, after)
        targets = _heads(db, Target, TargetHead, (project, chosen), shown, after)
        for entry in entries:
            live, target = lives.get(entry["name"]), targets.get(entry["name"])
            entry["current_deployment"] = _current(live, target, now)
    return {"project": project, "environment": chosen, "services": entries, **paging.following(following)}


def _heads(
    db: Projection, kind: type[Record], shape: type[Head], at: tuple[str, str], names: list[str], after: str
) -> dict[str, Head]:
    """By one read of all where most is shown, by their places where little is."""
    project, environment = at
    if len(names) > FEW:
        rows = db.rows(kind, shape, project=project, environment=environment, after=after)
    else:
        rows = db.at(kind, shape, [(project, environment, name) for name in names])
    return {one.service: one for one in rows}


def _current(live: LiveHead | None, target: TargetHead | None, now: datetime.datetime) -> Value | None:
    if live is None or not live.deployment:
        return None
    orphaned = target is not None and target.orphaned and live.status in ("running", "degraded")
    return {
        "id": live.deployment,
        "status": "orphaned" if orphaned else live.status,
        "health": live.health,
        "replicas": f"{live.ready}/{live.desired}",
        "version": texts.version(live.release),
        "uptime": texts.age(live.since, now) if live.since else "",
        "since": live.since,
    }
