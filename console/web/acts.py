"""The forms that ask for something: each publishes the command line's command and shows how it was decided."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from console import actions, asking
from console.authority import principal_of
from console.bearer import actor_of
from console.projection import Projection
from console.refusals import admit
from console.web.rendering import render
from console.web.security import read_form
from pipeline.errors import Invalid
from pipeline.events import DeployRequested, Event
from pipeline.store import Store

KINDS: Final[dict[str, type[Event]]] = {
    "rollback": actions.COMMANDS["rollbacks"],
    "hold": actions.COMMANDS["holds"],
    "resume": actions.COMMANDS["resumes"],
    "deploy": actions.COMMANDS["deploys"],
    "restart": actions.COMMANDS["restarts"],
    "review": actions.OTHERS["reviews"],
    "cancel": actions.OTHERS["cancels"],
}
DECISION_LIMIT: Final = 3.0
_LONGEST_REASON: Final = 500


class Acts:
    """The handlers."""

    def __init__(self, db: Projection, store: Store) -> None:
        self._db = db
        self._store = store

    def routes(self) -> list[Route]:
        acting = [Route(f"/act/{name}", self._acting(kind), methods=["POST"]) for name, kind in KINDS.items()]
        return [
            *acting,
            Route("/parked/{id}/{verb}", self.settle, methods=["POST"]),
            Route("/commands/{id}", self.command, methods=["GET"]),
        ]

    def _acting(self, kind: type[Event]) -> Callable[[Request], Awaitable[Response]]:
        async def act(request: Request) -> Response:
            fields = await read_form(request)
            key = fields.pop("key", "")
            wish = asking.wish(kind, fields, key=key, actor=actor_of(request))
            if await asking.taken(self._store, wish):
                return RedirectResponse(f"/commands/{wish.id}", 303)
            event = actions.read_command(kind, _typed(fields), id=wish.id, actor=actor_of(request))
            if isinstance(event, DeployRequested):
                event = await asyncio.to_thread(actions.resolved, self._db, event, principal_of(request))
            await admit(self._store, self._db, event)
            await asking.publish(self._store, event, wish)
            return RedirectResponse(f"/commands/{event.id}", 303)

        return act

    async def settle(self, request: Request) -> Response:
        await read_form(request)
        verb = request.path_params["verb"]
        if verb not in {"retry", "drop"}:
            raise Invalid("retry or drop", reason="bad_field")
        await actions.settle_parked(self._store, request.path_params["id"], retry=verb == "retry")
        return RedirectResponse("/queue", 303)

    async def command(self, request: Request) -> Response:
        """How it was decided; waits a little for that, so that most people see it at once."""
        wanted = request.path_params["id"]
        found = await actions.command(self._store, self._db, wanted)
        deadline = asyncio.get_running_loop().time() + DECISION_LIMIT
        while found["status"] == "pending" and asyncio.get_running_loop().time() < deadline:
            await _moved(self._db, deadline)
            found = await actions.command(self._store, self._db, wanted)
        live = "/live" if found["status"] == "pending" else ""
        return render(request, "command.html", found=found, live=live)


async def _moved(db: Projection, deadline: float) -> None:
    try:
        async with asyncio.timeout_at(deadline):
            await db.moved.wait()
    except TimeoutError:
        return


def _typed(fields: Mapping[str, str]) -> dict[str, Any]:
    """A form has only texts; what is no text in the event is said here."""
    found: dict[str, Any] = {key: value for key, value in fields.items() if value}
    if len(found.get("why", "")) > _LONGEST_REASON:
        raise Invalid(f"the reason is longer than {_LONGEST_REASON} characters", reason="bad_field")
    if "to" in found:
        number = found["to"].removeprefix("v")
        if not (number.isascii() and number.isdecimal() and len(number) < 10):
            raise Invalid("to: a release such as v41", reason="bad_field")
        found["to"] = int(number)
    return found
