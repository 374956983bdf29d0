"""Two releases of a service beside each other: the commits between them, and what their containers get otherwise."""

from __future__ import annotations

from typing import Any

from console import queries, texts
from console.projection import Projection
from pipeline.errors import NotFound
from pipeline.names import release_id
from pipeline.records import Release

Value = dict[str, Any]


def compare(db: Projection, project: str, service: str, environment: str, *, before: int, after: int) -> Value:
    """``{"from", "to", "changes", "commits"}``; commits are those of the releases between. Raises NotFound."""
    queries.check_scope(db, project, environment, service)
    old, new = (_release(db, project, service, number) for number in (before, after))
    return {
        "from": texts.version(old.id),
        "to": texts.version(new.id),
        "changes": queries.differences(db, environment, (old.id, old.image), (new.id, new.image)),
        "commits": [
            {"version": f"v{one.number}", "git_sha": one.sha, "subject_line": one.subject_line, "actor": one.actor}
            for one in _between(db, project, service, before, after)
        ],
    }


def _release(db: Projection, project: str, service: str, number: int) -> Release:
    found = db.get(Release, release_id(project, service, number))
    if found is None:
        raise NotFound(f"{service} has no release v{number}", reason="no_such_release")
    return found


def _between(db: Projection, project: str, service: str, before: int, after: int) -> list[Release]:
    low, high = sorted((before, after))
    found = db.find(Release, project=project, service=service, newest_first=True)
    return [one for one in found if low < one.number <= high]
