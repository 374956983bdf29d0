"""A project's services, whole or page by page, each with what is live in one environment.

An installation may have tens of thousands: names come out of the index, and of what runs only what is shown is read.
"""

from __future__ import annotations

import datetime
from typing import Final

import msgspec

from console import paging, texts
from console.projection import Projection
from console.queries import Value, known_environment, known_project
from pipeline.names import service_id
from pipeline.records import Live

FEW: Final = 300


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
        lives = _lives(db, project, chosen, shown, after)
        for entry in entries:
            entry["current_deployment"] = _current(lives.get(entry["name"]), now)
    return {"project": project, "environment": chosen, "services": entries, **paging.following(following)}


def _lives(db: Projection, project: str, environment: str, names: list[str], after: str) -> dict[str, LiveHead]:
    """By one read where most is shown, by key where little is."""
    if len(names) > FEW:
        return {one.service: one for one in db.rows(
            Live, LiveHead, project=project, environment=environment, after=after)}  # fmt: skip
    return {name: head for name in names if (head := db.head(Live, LiveHead, project, environment, name))}


def _current(live: LiveHead | None, now: datetime.datetime) -> Value | None:
    if live is None or not live.deployment:
        return None
    return {
        "id": live.deployment,
        "status": live.status,
        "health": live.health,
        "replicas": f"{live.ready}/{live.desired}",
        "version": texts.version(live.release),
        "uptime": texts.age(live.since, now) if live.since else "",
        "since": live.since,
    }
