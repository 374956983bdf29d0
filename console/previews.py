"""Previews for people: what is open, and what somebody asks for, checked against what there is."""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace

from console.projection import Projection
from console.queries import known_project, plain
from pipeline.errors import Invalid
from pipeline.events import PreviewRequested
from pipeline.names import BRANCH_PREFIX, name, ref, sha
from pipeline.preview_life import LONGEST
from pipeline.previews import Preview, inventory
from pipeline.records import Project

VERBS: Final = ("up", "down", "extend", "restart")


def previews(db: Projection, project: str, *, every: bool = False) -> list[dict[str, Any]]:
    """The open previews, newest first; with ``every`` those that were removed too."""
    if project:
        known_project(db, project)
    found = [one for one in db.find(Preview, project=project) if every or one.state != "removed"]
    return [shown(one) for one in sorted(found, key=lambda one: one.created_at, reverse=True)]


def shown(one: Preview) -> dict[str, Any]:
    """One preview as people see it."""
    answer = {key: value for key, value in plain(one).items() if key not in ("ref", "services")}
    return {**answer, "services": [plain(service) for service in one.services], "inventory": list(inventory(one))}


def asked(db: Projection, event: PreviewRequested, *, approval: bool = False) -> PreviewRequested:
    """The wish with the project's repository, when it has one alone. Raises Invalid, NotFound."""
    known_project(db, event.project)
    if event.verb not in (("approve",) if approval else VERBS):
        raise Invalid(f"verb: one of {', '.join(VERBS)}; approvals have an address of their own", reason="bad_field")
    if bool(event.number) == bool(event.branch) or event.number < 0:
        raise Invalid("number of a pull request, or branch: one of them", reason="bad_field")
    if event.branch:
        ref(BRANCH_PREFIX + event.branch)
    for service in event.services:
        name(service, what="service")
    if event.sha or approval:
        sha(event.sha)
    if not 0 <= event.seconds <= LONGEST or (event.verb == "extend" and not event.seconds):
        raise Invalid("seconds: for how long, at most 30 days", reason="bad_field")
    return replace(event, repository=_repository(db, event), role="")


def _repository(db: Projection, event: PreviewRequested) -> str:
    project = db.get(Project, event.project)
    known = project.repositories if project else ()
    if event.repository in known:
        return event.repository
    if event.repository or len(known) != 1:
        raise Invalid(f"repository: one of {', '.join(known) or 'none'}", reason="bad_field")
    return known[0]
