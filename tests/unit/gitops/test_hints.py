"""The signed hint, against a real HTTP server that answers as it is told to."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gitops.clusters import hints
from gitops.clusters.hints import Hints
from gitops.wiring import Source
from pipeline.errors import Refused, Unavailable
from pipeline.parsing import Secret
from tests.support.serving import serving

SOURCE = Source("http://enclii:secret@git.example:7081/enclii/config.git", "live")
KEY = Secret("shared")
SHA = "0123456789" * 4


class Tool:
    """Answers with the statuses in turn, the last one for ever, and keeps what it was sent."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.got: list[tuple[dict[str, str], bytes]] = []

    @property
    def app(self) -> Starlette:
        return Starlette(routes=[Route("/api/webhook", self._take, methods=["POST"])])

    async def _take(self, request: Request) -> Response:
        self.got.append((dict(request.headers), await request.body()))
        return Response(status_code=self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0])


def send(tool: Tool) -> None:
    async def go() -> None:
        async with serving(tool.app) as url:
            await hints.post(f"{url}/api/webhook", hints.argocd(SOURCE, SHA, ["shop/production/web/a.yaml"], KEY))

    asyncio.run(go())


def test_a_hint_looks_like_github_s_push_and_is_signed_over_its_body() -> None:
    tool = Tool(200)
    send(tool)

    headers, body = tool.got[0]
    expected = hmac.new(b"shared", body, hashlib.sha256).hexdigest()
    assert (headers["x-github-event"], headers["x-hub-signature-256"]) == ("push", f"sha256={expected}")
    event = json.loads(body)
    assert (event["ref"], event["after"]) == ("refs/heads/live", SHA)
    assert event["commits"][0]["modified"] == ["shop/production/web/a.yaml"]


def test_a_hint_names_the_repository_without_its_login() -> None:
    event = json.loads(hints.argocd(SOURCE, SHA, [], KEY).body)

    assert event["repository"]["html_url"] == "http://git.example:7081/enclii/config"


def test_a_hint_never_says_what_came_before() -> None:
    assert "before" not in json.loads(hints.argocd(SOURCE, SHA, [], KEY).body)


def test_flux_gets_its_own_signature() -> None:
    signed = hints.flux(SOURCE, SHA, KEY)

    assert signed.headers == {"X-Signature": hints.signature(signed.body, KEY)}


def test_a_tool_that_fails_for_a_moment_is_told_again() -> None:
    tool = Tool(502, 503, 200)
    send(tool)

    assert len(tool.got) == 3


def test_a_refusal_is_not_repeated_and_tells_no_secret() -> None:
    tool = Tool(400)
    with pytest.raises(Refused) as caught:
        send(tool)

    assert len(tool.got) == 1
    assert "shared" not in str(caught.value)
    assert "secret and its address" in str(caught.value)


def test_a_tool_that_is_away_is_given_up_on() -> None:
    with pytest.raises(Unavailable):
        asyncio.run(hints.post("http://127.0.0.1:9/api/webhook", hints.flux(SOURCE, SHA, KEY)))


def test_a_secret_that_cannot_be_read_is_said_without_its_path(tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        asyncio.run(hints.key_from(tmp_path / "none"))

    assert str(tmp_path) not in str(caught.value)


def test_what_moves_while_hints_are_on_their_way_is_told_as_one() -> None:
    async def go() -> list[Sequence[str]]:
        told: list[Sequence[str]] = []
        open_ = asyncio.Event()

        async def slow(_: str, paths: Sequence[str]) -> None:
            told.append(sorted(paths))
            await open_.wait()

        waiting = Hints(slow)
        for number in range(20):
            waiting.tell(SHA, [f"{number:02}"])
            await asyncio.sleep(0)
        open_.set()
        await waiting.settled()
        return told

    told = asyncio.run(go())
    assert len(told) == hints.AT_ONCE + 1
    assert [path for paths in told for path in paths] == [f"{number:02}" for number in range(20)]


def test_a_lost_hint_is_remembered_until_one_arrives() -> None:
    async def go() -> None:
        answers = [Unavailable("away", reason="webhook_away"), None]

        async def flaky(_: str, __: Sequence[str]) -> None:
            if (error := answers.pop(0)) is not None:
                raise error

        told = Hints(flaky)
        told.tell(SHA, ["a"])
        await told.settled()
        assert told.problem is not None
        told.tell(SHA, ["b"])
        await told.settled()
        assert told.problem is None

    asyncio.run(go())
