"""The pages that move: a run with its build's log, a service's lines, and the one stream that each page listens to.

A stream says ``moved`` when the page is worth reading again, and carries new lines of a log. It ends after a while, so
that the browser connects again and a session that was ended is noticed; the last line's id makes that seamless.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final
from urllib.parse import urlencode

from sse_starlette import ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from console import queries, streams
from console.fanout import Fanout
from console.projection import Projection
from console.service_carrier import Following, Wish
from console.service_feed import Feeds
from console.service_logs import Choice, service_lines
from console.web import downloads, safely
from console.web.downloads import choice
from console.web.guard import LEFT
from console.web.places import Place
from console.web.rendering import render
from console.web.run_stream import RunStream
from console.web.timelines import pipelines
from gitops.clusters import ServiceRef
from pipeline.bus import Bus
from pipeline.errors import EncliiError, Invalid
from pipeline.names import BRANCH_PREFIX
from pipeline.records import Project

LONGEST_STREAM: Final = 240.0
READ_LIMIT: Final = 5.0
TAIL: Final = 300
SETTLE: Final = 0.5
WAITING: Final = 64
WISHES: Final = ("q", "since", "until", "release", "previous")
RETRIED: Final = frozenset({"failed", "cancelled"})


class Live:
    """The handlers."""

    def __init__(self, db: Projection, bus: Bus, logs: Feeds, stopping: asyncio.Event) -> None:
        self._db = db
        self._bus = bus
        self._logs = logs
        self._stopping = stopping
        self._builds = Fanout()

    def routes(self) -> list[Route]:
        place = "/services/{project}/{environment}/{service}/logs"
        handlers = {
            "/live": self.changes,
            "/runs/{id}": self.run,
            "/runs/{id}/live": self.run_stream,
            place: self.lines,
            f"{place}/live": self.lines_stream,
            "/runs/{id}/log": self.run_text,
            f"{place}/text": self.text,
        }
        return [Route(path, handler, methods=["GET"]) for path, handler in handlers.items()]

    async def changes(self, request: Request) -> Response:
        return self._answer(request, _moves(self._db))

    async def run(self, request: Request) -> Response:
        wanted = request.path_params["id"]
        found = await asyncio.to_thread(queries.run, self._db, wanted)
        service = _chosen(found, request.query_params.get("service", ""))
        lines = streams.build_lines(self._bus, self._db, wanted, service, last_id="", follow=False)
        shown, problem = await _read(lines) if service else ([], "")
        log, dropped = safely.newest(shown)
        live = "" if found["finished"] else f"/runs/{wanted}/live?service={service}&after={_last(shown)}"
        return render(
            request,
            "run.html",
            run=found,
            service=service,
            lines=log,
            dropped=dropped,
            problem=problem,
            live=live,
            ways=pipelines(found),
            retries=_retries(self._db, found),
        )

    async def run_text(self, request: Request) -> Response:
        """The whole log of a build, as it was printed, to be kept."""
        wanted = request.path_params["id"]
        found = await asyncio.to_thread(queries.run, self._db, wanted)
        service = _chosen(found, request.query_params.get("service", ""))
        lines = streams.build_lines(self._bus, self._db, wanted, service, last_id="", follow=False)
        return downloads.answer(lines if service else streams.kept_lines([]), f"{wanted}-{service or 'build'}.log")

    async def text(self, request: Request) -> Response:
        """The lines that the page of a service's logs would show, all of them, to be kept."""
        place = Place.of(request)
        await asyncio.to_thread(queries.check_scope, self._db, place.project, place.environment, place.service)
        shown = self._dead(place) if request.query_params.get("previous", "") == "1" else self._of(place, request)
        return downloads.answer(shown, f"{place.project}-{place.environment}-{place.service}.log")

    async def run_stream(self, request: Request) -> Response:
        wanted = request.path_params["id"]
        found = await asyncio.to_thread(queries.run, self._db, wanted)
        service = _chosen(found, request.query_params.get("service", ""))
        if not service:
            return self._answer(request, _moves(self._db))
        after, key = _after(request), f"{wanted}/{service}"
        last = streams.two_numbers(after)
        read = functools.partial(streams.build_lines, self._bus, self._db, wanted, service, follow=True)
        if not self._builds.fits(key):
            return self._answer(request, _both(_moves(self._db), _lines(read(last_id=after))))

        def growing() -> bool:
            return streams.building(self._db, wanted, service) or not self._builds.fits(key)

        return RunStream(
            self._builds, key, lambda: _log(read(last_id="")), last, self._stopping, _left(request),
            moves=_moves(self._db), growing=growing,
        )  # fmt: skip

    async def lines(self, request: Request) -> Response:
        place = Place.of(request)
        wish = {name: request.query_params.get(name, "").strip() for name in WISHES}
        dead, wanted = wish["previous"] == "1", wish["q"]
        await asyncio.to_thread(queries.check_scope, self._db, place.project, place.environment, place.service)
        shown, problem = await _read(self._dead(place) if dead else self._of(place, request))
        log, dropped = safely.newest(one for one in shown if wanted in one["text"])
        live = "" if any(wish.values()) else f"{place.path}/logs/live?after={_last(shown)}"
        return render(
            request, "logs.html", place=place, lines=log, dropped=dropped, problem=problem, dead=dead, wish=wish,
            live=live, text=f"{place.path}/logs/text?{urlencode({k: v for k, v in wish.items() if v and k != 'q'})}",
        )  # fmt: skip

    async def lines_stream(self, request: Request) -> Response:
        place = Place.of(request)
        await asyncio.to_thread(queries.check_scope, self._db, place.project, place.environment, place.service)
        wish = Wish(_ref(place), Choice(TAIL), _after(request), shape=_safe)
        return Following(self._logs, wish, self._stopping, _left(request))

    def _of(self, place: Place, request: Request) -> AsyncIterator[ServerSentEvent]:
        return service_lines(self._logs.logs, _ref(place), choice(request), "")

    async def _dead(self, place: Place) -> AsyncIterator[ServerSentEvent]:
        kept = queries.dead_lines(self._db, place.project, place.environment, place.service)
        async for event in streams.kept_lines(kept):
            yield event

    def _answer(self, request: Request, events: AsyncIterator[ServerSentEvent]) -> Response:
        return streams.response(_for(_left(request), events), self._stopping)


def _retries(db: Projection, run: dict[str, Any]) -> list[Place]:
    """Where what failed of a run can be tried again: its services in the environments that its branch feeds."""
    project = db.get(Project, run["project"]) if run["status"] in RETRIED else None
    fed = [one.name for one in project.environments if BRANCH_PREFIX + one.branch == run["ref"]] if project else []
    failed = [one["service"] for one in run["jobs"] if one["status"] in RETRIED] or run["services"]
    return [Place(run["project"], environment, service) for service in failed for environment in fed]


def _left(request: Request) -> float:
    """For how many seconds a stream goes on."""
    return min(LONGEST_STREAM, float(request.scope[LEFT]))


def _ref(place: Place) -> ServiceRef:
    return ServiceRef(place.project, place.environment, place.service)


def _chosen(run: dict[str, Any], wanted: str) -> str:
    known = [job["service"] for job in run["jobs"]]
    if wanted and wanted not in known:
        raise Invalid(f"service: one of {', '.join(known) or 'none yet'}", reason="no_such_job")
    return wanted or (known[0] if known else "")


def _after(request: Request) -> str:
    """Where the page ends, or the line after it that the browser saw last."""
    return request.headers.get("last-event-id", "") or request.query_params.get("after", "")


def _last(lines: list[dict[str, str]]) -> str:
    return lines[-1]["id"] if lines else ""


async def _read(events: AsyncIterator[ServerSentEvent]) -> tuple[list[dict[str, str]], str]:
    """The lines that are there now, and what was wrong; a page without its log is better than none."""
    found: list[dict[str, str]] = []
    problem = ""
    try:
        async with asyncio.timeout(READ_LIMIT), contextlib.aclosing(_lines(events)) as lines:
            async for event in lines:
                if event.event == "line":
                    found.append({**json.loads(event.data or "{}"), "id": event.id or ""})
    except TimeoutError:
        problem = "not all lines came in time"
    except EncliiError as error:
        problem = error.message
    return found, problem


async def _lines(events: AsyncIterator[ServerSentEvent]) -> AsyncGenerator[ServerSentEvent, None]:
    """The same lines, each made safe to show."""
    async for event in events:
        yield _safe(event)


async def _log(events: AsyncIterator[ServerSentEvent]) -> AsyncGenerator[ServerSentEvent, None]:
    """Lines for readers whose stream goes on behind the log's end."""
    async for event in _lines(events):
        if event.event != "end":
            yield event


def _safe(event: ServerSentEvent) -> ServerSentEvent:
    if event.event != "line":
        return event
    told = json.loads(event.data or "{}")
    shown = {
        "text": safely.line(told["text"]),
        "time": told.get("time", "")[:19],
        "from": safely.line(told.get("replica") or "")[:60],
    }
    return ServerSentEvent(json.dumps(shown, ensure_ascii=False), event="line", id=event.id)


async def _moves(db: Projection) -> AsyncIterator[ServerSentEvent]:
    """Says at most every half second that something moved, and once at its beginning.

    Between the page and its stream something may have happened, and while the stream was away too.
    """
    while True:
        moved = db.moved
        yield ServerSentEvent("{}", event="moved")
        await asyncio.sleep(SETTLE)
        await moved.wait()


async def _both(*several: AsyncIterator[ServerSentEvent]) -> AsyncIterator[ServerSentEvent]:
    """Several streams as one; each is read by a task of its own, and one that ends does not end the others."""
    waiting: asyncio.Queue[ServerSentEvent | Exception] = asyncio.Queue(WAITING)

    async def pump(events: AsyncIterator[ServerSentEvent]) -> None:
        try:
            async for event in events:
                if event.event != "end":
                    await waiting.put(event)
        except EncliiError as error:
            await waiting.put(error)

    tasks = [asyncio.create_task(pump(events)) for events in several]
    try:
        while True:
            found = await waiting.get()
            if isinstance(found, Exception):
                raise found
            yield found
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _for(seconds: float, events: AsyncIterator[ServerSentEvent]) -> AsyncIterator[ServerSentEvent]:
    """The events of the next ``seconds``."""
    try:
        async with asyncio.timeout(seconds):
            async for event in events:
                yield event
    except TimeoutError:
        return
