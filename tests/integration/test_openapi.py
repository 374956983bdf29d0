"""The API against the document that it says of itself: schemathesis asks every operation what the document allows."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import CheckContext
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from console import operations
from console.api import create_api
from console.authority import Authority
from console.device import Devices
from console.openapi import document
from console.origins import Origins
from console.service_feed import Feeds
from console.token_routes import TokenRoutes
from console.tokens import Tokens
from console.web.login import Login
from console.web.sessions import Sessions
from pipeline.records import BuilderState, Decision, Parked
from tests.integration import console_records as data
from tests.integration.console_server import FORGES, TOKEN, Console, with_console


def answers(ctx: CheckContext, answer: Any, case: Any) -> None:
    """No 5xx; that the cluster does not answer is said by 503, for here is none."""
    if answer.status_code == 503 and answer.json()["reason_code"] == "no_answer":
        return
    assert answer.status_code < 500, answer.text


CHECKS = [answers, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 6
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
KNOWN = {
    "slug": ["shop", "shpo"], "project": ["shop", ""], "environment": ["production", "", "nowhere"],
    "service": ["web", ""], "session": ["none"], "run": ["r-2"], "release": ["shop.web.v2", ""], "verb": ["retry"],
    "id": ["shop.web", "shop.web.v2", "d-2", "r-2", "p-1", "k-1", "%00", "shop.wbe", "2222222"],
    "repository": ["local:shop/shop"], "limit": [0, 1, 3], "cursor": [""], "wait": [0], "after": [0],
    "follow": [False], "sha": [data.SHA2, "main"], "services": [["web"]],
}  # fmt: skip
ENDLESS = {"/v1/events"}


def test_every_answer_is_one_that_the_document_allows(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        decided = Decision(id="del-2", about="delivery", outcome="accepted", reason="planned", message="-", at=data.AT2)
        parked = Parked(
            id="p-1", consumer="committer", subject_parked="ev.deploy.requested.x", event_type="deploy.requested",
            reason="boom", message="-", attempts=5, at=data.AT1,
        )  # fmt: skip
        await console.put(*data.shop(), decided, parked, BuilderState(worker="w-1", why=("because",), at=data.AT1))

        failures = await asyncio.to_thread(_ask_everything, console.url)

        assert not failures, "\n\n".join(failures[:5])

    with_console(tmp_path, story)


def _ask_everything(url: str) -> list[str]:
    """What was wrong; each operation is asked a few things, most of which name what is there."""
    schema = schemathesis.openapi.from_url(f"{url}/v1/openapi.json", headers=HEADERS)
    return [failure for found in schema.get_all_operations() for failure in _ask(found.ok())]


def _ask(operation: Any) -> list[str]:
    if operation.path in ENDLESS:
        return []
    failures: list[str] = []

    @settings(
        max_examples=EXAMPLES, database=None, deadline=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy(), choices=st.data())
    def ask(case: Any, choices: st.DataObject) -> None:
        for part in (case.path_parameters, case.query, case.body):
            _name_what_is_there(part, choices)
        case.headers.pop("Last-Event-ID", None)
        if isinstance(case.query, dict):
            case.query.pop("wait", None)
        answer = case.call(headers=HEADERS, timeout=60)
        try:
            case.validate_response(answer, checks=CHECKS)
        except BaseExceptionGroup as group:
            failures.append(f"{case.method} {case.path} {case.query} {case.body}\n{group.exceptions}")

    ask()
    return failures


def _name_what_is_there(part: Any, choices: st.DataObject) -> None:
    """Random names are unknown ones; the interesting answers are about names that exist."""
    if not isinstance(part, dict):
        return
    for key in sorted(part.keys() & KNOWN.keys()):
        if choices.draw(st.integers(0, 3)):
            part[key] = choices.draw(st.sampled_from(KNOWN[key]))


def people(console: Console) -> list[Route]:
    """The addresses of tokens and of the command line's login."""
    tokens = Tokens(console.store, console.projection, Origins(console.store))
    devices = Devices(console.store.bus, tokens, console_url=console.url, lifetime=60.0)
    authority = Authority(console.projection)
    made = TokenRoutes(tokens, authority, console.projection)
    audit = Route("/v1/audit", lambda _: Response(), methods=["GET"])
    return [*devices.routes(), *made.routes(), audit]


def test_the_document_has_every_address_and_no_other(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        async def doctor() -> list[dict[str, str]]:
            return []

        async def nothing(_: Request) -> Response:
            return Response()

        login = Login(Sessions(console.store.bus, lifetime=60.0), console_url=console.url)
        api = create_api(
            projection=console.projection, store=console.store, logs=Feeds(console.logs), token=TOKEN, forges=FORGES,
            doctor=doctor, verify=nothing, diff=nothing, more=[*login.api_routes(), *people(console)],
        )  # fmt: skip
        routes = [route for route in api.routes if isinstance(route, Route)]

        served = {f"{method} {route.path}" for route in routes for method in route.methods or () if method != "HEAD"}
        told = document(routes)
        known = {f"GET {path}" for path in operations.READS} | {f"POST {path}" for path in operations.writes()}

        assert served == known
        assert told["openapi"] == "3.1.0"
        assert sum(map(len, told["paths"].values())) == len(known)
        assert len({one["operationId"] for path in told["paths"].values() for one in path.values()}) == len(known)

    with_console(tmp_path, story)
