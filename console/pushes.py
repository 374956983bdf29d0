"""Pushes that the git host accepted and that no run tells of yet: what a watcher who came with the push waits for.

The git host stores each push before its ref moves, so it is known here before it is planned. One that died before it
was accepted is stored too: it counts for ``FRESH`` seconds and no longer.
"""

from __future__ import annotations

import datetime
from typing import Any, Final

from console import queries, sight, texts
from console.projection import Projection
from pipeline.names import BRANCH_PREFIX, is_zero, run_id
from pipeline.records import Decision, Push

FRESH: Final = 300.0


def waiting(db: Projection, slug: str, now: datetime.datetime) -> dict[str, Any]:
    """The project's pushes that are to be planned, each with the run that it will be. Raises NotFound."""
    project = queries.known_project(db, slug)
    branches = {one.branch for one in project.environments if one.branch}
    with sight.limited(None):  # a push has no project of its own: it is seen by who sees that of its repository
        found = [db.get(Push, each, BRANCH_PREFIX + branch) for each in project.repositories for branch in branches]
        return {"pushes": [_shown(one) for one in found if one is not None and _waits(db, one, now)]}


def _waits(db: Projection, push: Push, now: datetime.datetime) -> bool:
    age = texts.seconds_between(push.at, now)
    fresh = age is not None and age < FRESH
    return fresh and not is_zero(push.after) and db.get(Decision, push.delivery) is None


def _shown(push: Push) -> dict[str, str]:
    return {
        "repository": push.repository, "ref": push.ref, "sha": push.after, "actor": push.actor, "at": push.at,
        "delivery": push.delivery, "run": run_id(push.delivery),
    }  # fmt: skip
