"""Who may do what, as one pure function: roles viewer < deployer < admin for each project and environment.

Roles are in the config repository, in ``roles`` of ``project.yaml``: for the whole project, or within an environment
for that one alone. Whoever is named nowhere may nothing. A credential may bring grants of its own: the installation's
token, or a machine's with its scope.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pipeline.principals import GROUP, ROLES, Grant, Principal, Role
from pipeline.records import Environment, Project

__all__ = ["GROUP", "ROLES", "Grant", "Principal", "Role", "entry_problem", "may", "role_in", "seen_environments"]


def role_in(who: Principal, project: Project | None, environment: str = "") -> Role | None:
    """The highest role there, None for none. "" for ``environment`` is the project as a whole."""
    slug = project.slug if project else ""
    found = {grant.role for grant in who.grants if grant.covers(slug, environment)}
    if project is not None:
        found |= _named(who, project.roles)
        found |= _named(who, _roles_of(project.environments, environment))
    return max(found, key=ROLES.index, default=None)


def may(who: Principal, role: Role, project: Project | None, environment: str = "") -> bool:
    """Whether somebody has at least ``role`` there; None for ``project`` is the installation itself."""
    found = role_in(who, project, environment)
    return found is not None and ROLES.index(found) >= ROLES.index(role)


def seen_environments(who: Principal, project: Project) -> frozenset[str] | None:
    """The environments of a project that somebody may look at; None for all of it, also what is in none of them."""
    if may(who, "viewer", project):
        return None
    return frozenset(one.name for one in project.environments if may(who, "viewer", project, one.name))


def entry_problem(entry: str) -> str:
    """Why ``entry`` cannot be a person's name in a list of roles; "" when it can."""
    if not entry or entry != entry.strip() or not entry.isprintable() or len(entry) > 256:
        return "1 to 256 printable characters"
    return f"a name must not begin with {GROUP}" if entry.startswith(GROUP) else ""


def _named(who: Principal, roles: Mapping[str, Sequence[str]]) -> set[Role]:
    return {role for role in ROLES if who.is_named(roles.get(role, ()))}


def _roles_of(environments: Iterable[Environment], wanted: str) -> Mapping[str, Sequence[str]]:
    return next((one.roles for one in environments if one.name == wanted and wanted), {})
