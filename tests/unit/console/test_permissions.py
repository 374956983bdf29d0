"""Every address asks for a role: a new one without a role cannot even be served, and none lets strangers through."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from console import queries, sight
from console.authority import PRINCIPAL, Authority
from console.permissions import API, PAGES, UNGUARDED, guarded, key_of
from console.projection import Projection
from pipeline.access import ROLES, Grant, Principal, Role
from pipeline.errors import Denied, Invalid, NotFound
from pipeline.promotions import Promotion
from pipeline.records import Environment, Project, Record, Repository, Run

ADDRESSES = sorted({*API, *PAGES})
READING = {key for key in ADDRESSES if key.startswith("GET ")}
OWN = {"POST /v1/logins", "POST /v1/exec/{session}/input", "POST /v1/exec/{session}/end", "POST /device",
       "POST /v1/tokens/{id}/revoke", "POST /tokens/{id}/revoke"}  # fmt: skip
BODY = {"project": "shop", "environment": "production", "run": "r-1", "promotion": "p-1"}


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Projection]:
    projection = Projection(tmp_path_factory.mktemp("console") / "p.sqlite")
    environments = (
        Environment(name="production", branch="main", roles={"viewer": ("vic",), "deployer": ("dee",)}),
        Environment(name="staging", branch="next", roles={"deployer": ("sam",)}),
    )
    records: list[Record] = [
        Project(slug="shop", environments=environments, roles={"admin": ("ada",)}),
        Project(slug="other", environments=(Environment(name="production", branch="main"),)),
        Repository(id="local:shop/shop", project="shop", name="shop", forge="local", url="http://h/shop.git"),
        Run(id="r-1", project="shop", repository="local:shop/shop", ref="refs/heads/main", sha="1" * 40, actor="x",
            subject_line="", delivery="", created_at="2026-01-01T00:00:00Z"),
        Promotion(id="p-1", command="c-1", project="shop", environment="production", source="staging",
                  members=(), actor="x", status="waiting", created_at="2026-01-01T00:00:00Z"),
    ]  # fmt: skip
    rows = [SimpleNamespace(subject=one.subject, data=one.encode(), seq=n) for n, one in enumerate(records, 1)]
    projection.apply(rows)  # type: ignore[arg-type]
    yield projection
    projection.close()


def passes(
    db: Projection, key: str, who: Principal, *, query: str = "environment=production", body: dict[str, str] = BODY
) -> bool:
    """Whether the guard lets somebody through to what answers there."""
    method, _, path = key.partition(" ")
    reached: list[str] = []

    async def inner(_: Request) -> Response:
        reached.append(path)
        return PlainTextResponse("")

    route = guarded([Route(path, inner, methods=[method])], {**API, **PAGES}, authority=Authority(db), db=db)[0]
    with sight.limited(Authority(db).sight(who)):
        try:
            asyncio.run(route.endpoint(_request(method, who, query, body)))
        except Denied:
            assert not reached
    return bool(reached)


def _request(method: str, who: Principal, query: str, body: dict[str, str]) -> Request:
    named = {"id": "shop.web", "project": "shop", "environment": "production", "service": "web", "verb": "retry",
             "repository": "local:shop/shop", "session": "x-1", "slug": "shop"}  # fmt: skip
    data = json.dumps(body).encode()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": data, "more_body": False}

    scope = {"type": "http", "method": method, "path": "/", "query_string": query.encode(),
             "headers": [(b"content-type", b"application/json")], "path_params": named, PRINCIPAL: who}  # fmt: skip
    return Request(scope, receive)


def least(db: Projection, key: str) -> Role | None:
    """The lowest role in shop/production with which an address answers."""
    people = {"viewer": "vic", "deployer": "dee", "admin": "ada"}
    return next((role for role in ROLES if passes(db, key, Principal(name=people[role]))), None)


@pytest.mark.parametrize("key", ADDRESSES)
def test_nobody_without_a_role_gets_to_what_is_not_filtered_for_him(db: Projection, key: str) -> None:
    stranger = Principal(name="eve", groups=("everyone",))
    filtered = (API.get(key) or PAGES[key]).where is None

    assert passes(db, key, stranger) is filtered
    assert Authority(db).sight(stranger) == {}


@pytest.mark.parametrize("key", ADDRESSES)
def test_what_changes_something_asks_for_a_deployer_at_least(db: Projection, key: str) -> None:
    assert least(db, key) != "viewer" or key in READING | OWN


@pytest.mark.parametrize("key", [key for key in ADDRESSES if (API.get(key) or PAGES[key]).where])
def test_a_role_elsewhere_is_none_here(db: Projection, key: str) -> None:
    elsewhere = Principal(name="ci", grants=(Grant(role="admin", project="other"),))

    assert not passes(db, key, elsewhere)
    assert passes(db, key, Principal(name="owner", grants=(Grant(role="admin"),)))


@pytest.mark.parametrize("key", ["POST /v1/rollbacks", "POST /act/hold", "POST /v1/secrets", "POST /v1/cancels"])
def test_a_deployer_of_one_environment_is_none_of_another(db: Projection, key: str) -> None:
    assert not passes(db, key, Principal(name="sam"))
    assert passes(db, key, Principal(name="dee"))


@pytest.mark.parametrize(
    "key", [key for key in ADDRESSES if key.startswith("POST ") and (API.get(key) or PAGES[key]).where]
)
def test_a_write_whose_query_names_another_place_than_its_body_is_refused(db: Projection, key: str) -> None:
    with pytest.raises(Invalid, match="the query says something else"):
        passes(db, key, Principal(name="sam"), query="environment=staging")


def test_a_command_is_opened_where_the_body_says_and_nowhere_else(db: Projection) -> None:
    key, sam = "POST /v1/services/{id}/exec", Principal(name="sam")

    assert not passes(db, key, sam, query="")
    assert passes(db, key, sam, query="", body={"environment": "staging"})
    assert not passes(db, key, sam, query="", body={})


def test_a_read_is_of_the_place_in_its_query_whatever_its_body_says(db: Projection) -> None:
    key, vic = "GET /v1/services/{id}/logs", Principal(name="vic")

    assert not passes(db, key, vic, query="environment=staging")


def test_an_environment_that_may_not_be_seen_is_not_there(db: Projection) -> None:
    with sight.limited(Authority(db).sight(Principal(name="sam"))):
        queries.known_environment(db, "shop", "staging")
        with pytest.raises(NotFound, match="production"):
            queries.known_environment(db, "shop", "production")


def test_an_address_without_a_role_is_not_served(db: Projection) -> None:
    async def inner(_: Request) -> Response:
        return PlainTextResponse("")

    with pytest.raises(LookupError, match="GET /v1/new asks for no role"):
        guarded([Route("/v1/new", inner, methods=["GET"])], API, authority=Authority(db), db=db)


def test_only_the_login_and_the_files_answer_to_anybody() -> None:
    assert all(any(part in key for part in ("/login", "/logout", "/static/", "/v1/device")) for key in UNGUARDED)
    assert not UNGUARDED & {*API, *PAGES}


def test_the_table_names_no_address_twice_by_its_method(db: Projection) -> None:
    async def inner(_: Request) -> Response:
        return PlainTextResponse("")

    assert key_of(Route("/a", inner, methods=["POST"])) == "POST /a"
    assert key_of(Route("/a", inner, methods=["GET"])) == "GET /a"


def test_reads_find_what_may_be_seen_alone(db: Projection) -> None:
    def seen(name: str) -> list[str]:
        with sight.limited(Authority(db).sight(Principal(name=name))):
            return [one.slug for one in db.find(Project)] + [one.environment for one in db.find(Promotion)]

    assert seen("ada") == ["shop", "production"]
    assert seen("vic") == ["shop", "production"]
    assert seen("sam") == ["shop"]
    assert seen("eve") == []


def test_a_build_that_runs_can_be_cancelled_and_not_steered() -> None:
    reaching = {key for key in ADDRESSES if key.startswith("POST") and re.search("build|cancel|run", key)}

    assert reaching == {
        "POST /v1/cancels",
        "POST /act/cancel",
        "POST /v1/build-secrets",  # of the builds that come
        "POST /v1/build-secrets/unset",
    }
