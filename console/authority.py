"""Roles as the config repository has them at this moment, asked of the projection."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from starlette.requests import Request

from console import sight
from console.projection import Projection
from pipeline.access import Principal, Role, may, role_in, seen_environments
from pipeline.errors import Denied
from pipeline.records import Project

PRINCIPAL: Final = "enclii.principal"
Where = tuple[str, str]
"""Project and environment; ("", "") is the installation, (project, "") the project as a whole."""
INSTALLATION: Final[Where] = ("", "")


class Authority:
    """Answers who may what; every answer is of now, so a change of roles counts at the next request."""

    def __init__(self, db: Projection) -> None:
        self._db = db

    def sight(self, who: Principal) -> sight.Seen | None:
        """What somebody may look at; None: everything."""
        if may(who, "viewer", None):
            return None
        with sight.limited(None):
            projects = self._db.find(Project)
        found = {project.slug: seen_environments(who, project) for project in projects}
        return {slug: there for slug, there in found.items() if there is None or there}

    def role(self, who: Principal, where: Where) -> Role | None:
        """The highest role there. Somebody who sees one environment of a project is a viewer of what is in none."""
        project = self._project(where[0])
        found = role_in(who, project, where[1])
        if found is None and project is not None and not where[1] and seen_environments(who, project):
            return "viewer"
        return found

    def allows(self, who: Principal, role: Role, where: Where) -> bool:
        """Whether somebody has at least that role there."""
        if may(who, role, None):
            return True
        project = self._project(where[0])
        if project is None:  # the installation itself, or what is not there: only who may everywhere may name that
            return False
        if role == "viewer" and not where[1]:
            return self.role(who, where) is not None
        return may(who, role, project, where[1])

    def demand(self, who: Principal, role: Role, places: Iterable[Where]) -> None:
        """Return when somebody has at least ``role`` at every place. Raises Denied."""
        for where in places:
            if not self.allows(who, role, where):
                there = "/".join(part for part in where if part) or "this installation"
                has = self.role(who, where)
                told = f"you are {has}" if has else "you have no role there"
                raise Denied(f"needs the role {role} in {there}; {told}", reason="role_missing")

    def _project(self, slug: str) -> Project | None:
        with sight.limited(None):
            return self._db.get(Project, slug) if slug else None


def principal_of(request: Request) -> Principal:
    """Who sent the request."""
    found = request.scope[PRINCIPAL]
    assert isinstance(found, Principal)
    return found
