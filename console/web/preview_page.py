"""The page of previews: what is open with its end and cap, and the forms that extend, restart, end or approve one."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from console import actions, asking, previews, queries
from console.bearer import actor_of
from console.projection import Projection
from console.web.rendering import render
from console.web.security import read_form
from pipeline.errors import Invalid
from pipeline.events import PreviewRequested
from pipeline.previews import GONE, Preview
from pipeline.records import Project
from pipeline.store import Store

SHOWN: Final = 200
HOURS: Final = 3_600.0


class PreviewPage:
    """The handlers."""

    def __init__(self, db: Projection, store: Store) -> None:
        self._db, self._store = db, store

    def routes(self) -> list[Route]:
        return [
            Route("/previews", self.page, methods=["GET"]),
            Route("/act/preview", self._acting(approval=False), methods=["POST"]),
            Route("/act/approval", self._acting(approval=True), methods=["POST"]),
        ]

    def page(self, request: Request) -> Response:
        found = self._db.find(Preview, newest_first=True, limit=SHOWN)
        there = [one for one in found if one.state not in GONE]
        count = Counter(one.project for one in there)
        caps = {one.slug: one.previews.cap for one in self._db.find(Project)}
        used = [(project, count[project], caps.get(project, 0)) for project in sorted(count)]
        return render(
            request, "previews.html", previews=[queries.plain(one) | {"newest": one.newest} for one in found],
            used=used, gone=GONE, left=sum(len(one.left) for one in found), live="/live",
        )  # fmt: skip

    def _acting(self, *, approval: bool) -> Callable[[Request], Awaitable[Response]]:
        async def act(request: Request) -> Response:
            fields = await read_form(request)
            key, actor = fields.pop("key", ""), actor_of(request)
            body = _typed(fields) | ({"verb": "approve"} if approval else {})
            wish = asking.wish(PreviewRequested, body, key=key, actor=actor)
            if not await asking.taken(self._store, wish):
                event = actions.read_command(PreviewRequested, body, id=wish.id, actor=actor)
                assert isinstance(event, PreviewRequested)
                event = await asyncio.to_thread(previews.asked, self._db, event, approval=approval)
                await asking.publish(self._store, event, wish)
            return RedirectResponse(f"/commands/{wish.id}", 303)

        return act


def _typed(fields: Mapping[str, str]) -> dict[str, Any]:
    """A form has only texts; which of them are numbers is said here. Raises Invalid."""
    found: dict[str, Any] = {name: value for name, value in fields.items() if value}
    number, hours = _whole("number", found.pop("number", "0")), _whole("hours", found.pop("hours", "0"))
    return found | {"number": number, "seconds": hours * HOURS if found.get("verb") == "extend" else 0.0}


def _whole(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise Invalid(f"{name}: a whole number", reason="bad_field")
    return int(text)
