"""What a shell may offer for a flag or an argument, asked of the API; silence when it does not answer at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import click

from console.client import Failure, path
from console.session import Scope, Session

LIMIT: Final = 1.0
Complete = Callable[[click.Context, click.Parameter, str], list[str]]


def offered(find: Callable[[Session, Scope], Iterator[str]]) -> Complete:
    """A completer out of what finds the names."""

    def complete(context: click.Context, _: click.Parameter, begun: str) -> list[str]:
        session = context.find_object(Session)
        if session is None:
            return []
        session.timeout = LIMIT
        given = {name: context.params.get(name) or "" for name in ("project", "service", "environment")}
        try:
            return sorted({name for name in find(session, Scope(**given)) if name.startswith(begun)})
        except Failure:
            return []

    return complete


def _project(session: Session, scope: Scope) -> dict[str, Any]:
    """The project that is meant."""
    wanted = session.resolve(scope).project
    found: list[dict[str, Any]] = session.api.get("/v1/projects")["projects"]
    return next(one for one in found if one["slug"] == wanted)


@offered
def projects(session: Session, _: Scope) -> Iterator[str]:
    return (str(one["slug"]) for one in session.api.get("/v1/projects")["projects"])


@offered
def services(session: Session, scope: Scope) -> Iterator[str]:
    return (str(one["name"]) for one in _project(session, scope)["services"])


@offered
def environments(session: Session, scope: Scope) -> Iterator[str]:
    return (str(one["name"]) for one in _project(session, scope)["environments"])


@offered
def releases(session: Session, scope: Scope) -> Iterator[str]:
    service = session.resolve(scope, service=True).service_id
    return (str(one["version"]) for one in session.api.get(path("services", service, "releases"))["releases"])


@offered
def runs(session: Session, scope: Scope) -> Iterator[str]:
    return (str(one["id"]) for one in session.api.get("/v1/runs", {"project": scope.project})["runs"])
