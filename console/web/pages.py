"""The pages that read: the same queries as the API, shown as HTML."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from console import overview, package_changes, promotions, queries, queue_figures, sight
from console.comparison import compare
from console.projection import Projection
from console.secret_routes import secrets_of
from console.web.places import Place
from console.web.rendering import render
from console.web.timelines import queue, time_line
from console.why import why
from pipeline.build_report import BuilderState
from pipeline.bus import Bus
from pipeline.errors import EncliiError, Invalid, Refused
from pipeline.names import release_id
from pipeline.previews import GONE, Preview
from pipeline.promotions import OPEN
from pipeline.queues import queues
from pipeline.records import Decision, Job, Project, Repository, Target

Doctor = Callable[[], Awaitable[list[dict[str, str]]]]
Available = Callable[[list[dict[str, Any]]], Awaitable[None]]
"""Says of each release whether the registry has its image, within a short time."""
PAGE: Final = 50
RECENT: Final = 10
MOST: Final = 5_000
"""Of the newest, what a picture is drawn of."""
READ_LIMIT: Final = 3.0
_NUMBER_LENGTH: Final = 9


class Pages:
    """The handlers, by the address that they answer."""

    def __init__(
        self, db: Projection, doctor: Doctor | None, bus: Bus, available: Available | None = None,
        packages: package_changes.Packages | None = None,
    ) -> None:  # fmt: skip
        self._db = db
        self._packages = packages
        self._available = available
        self._bus = bus
        self._doctor = doctor

    def routes(self) -> list[Route]:
        place = "/services/{project}/{environment}/{service}"
        handlers = {
            "/": self.overview,
            place: self.service,
            f"{place}/releases": self.releases,
            f"{place}/rollback": self.rollback,
            f"{place}/secrets": self.secrets,
            "/runs": self.runs,
            "/decisions": self.decisions,
            "/why": self.why,
            "/promotions": self.promotions,
            "/queue": self.queue,
            "/settings": self.settings,
        }
        return [Route(path, handler, methods=["GET"]) for path, handler in handlers.items()]

    def overview(self, request: Request) -> Response:
        wanted = request.query_params.get("q", "").strip()
        page = number(request, "page", 1)
        services, total = overview.page(self._db, wanted, (page - 1) * PAGE, PAGE)
        recent = queries.runs(self._db, "", RECENT)["runs"]
        more = total > page * PAGE
        return render(
            request, "overview.html", services=services, total=total, wanted=wanted, page=page, more=more,
            runs=recent, parked=len(queries.parked(self._db)["parked"]), busy=self._db.busy_jobs(1)[1],
            previews=sum(one.state not in GONE for one in self._db.find(Preview, newest_first=True, limit=200)),
            live="/live",
        )  # fmt: skip

    def service(self, request: Request) -> Response:
        place = Place.of(request)
        found = overview.processes(self._db, place.project, place.environment, place.service)
        listed = queries.releases(self._db, place.project, place.service, place.environment, RECENT)
        state = next(iter(found["services"]), None)
        return render(
            request, "service.html", place=place, state=state, processes=found["processes"],
            releases=listed["releases"], line=time_line(self._db, place), live="/live",
            decisions=[queries.plain(one) for one in self._db.find(
                Decision, project=place.project, environment=place.environment, service=place.service,
                newest_first=True, limit=RECENT)],
        )  # fmt: skip

    async def releases(self, request: Request) -> Response:
        place = Place.of(request)
        args = (self._db, place.project, place.service, place.environment, PAGE)
        listed = (await asyncio.to_thread(queries.releases, *args))["releases"]
        asked = request.query_params.get("available", "") == "1" and self._available is not None
        if asked and self._available:
            await self._available(listed)
        before, after = number(request, "from", 0), number(request, "to", 0)
        found, contents = await self._compared(place, before, after) if before and after else (None, None)
        return await asyncio.to_thread(
            render, request, "releases.html", place=place, releases=listed, found=found, contents=contents,
            before=before, after=after, asked=asked,
        )  # fmt: skip

    async def _compared(self, place: Place, before: int, after: int) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """What the store knows of the difference, and what the registry's SBOMs say. Raises NotFound."""
        here = (self._db, place.project, place.service, place.environment)
        found = await asyncio.to_thread(lambda: compare(*here, before=before, after=after))
        if self._packages is None:
            return found, None
        old, new = (release_id(place.project, place.service, one) for one in (before, after))
        return found, await package_changes.between(self._packages, old, new)

    def rollback(self, request: Request) -> Response:
        place = Place.of(request)
        to = number(request, "to", 0)
        listed = queries.releases(self._db, place.project, place.service, place.environment, PAGE)["releases"]
        plan, refusal = None, ""
        try:
            plan = promotions.rollback_plan(self._db, place.project, place.service, place.environment, to)
        except Refused as error:
            refusal = error.message
        return render(request, "rollback.html", place=place, plan=plan, refusal=refusal, releases=listed)

    def secrets(self, request: Request) -> Response:
        place = Place.of(request)
        queries.check_scope(self._db, place.project, place.environment, place.service)
        found = secrets_of(self._db, place.project, place.environment, place.service)
        return render(request, "secrets.html", place=place, secrets=found)

    def runs(self, request: Request) -> Response:
        found = queries.runs(self._db, request.query_params.get("project", ""), PAGE)["runs"]
        return render(request, "runs.html", runs=found, live="/live")

    def decisions(self, request: Request) -> Response:
        found = self._db.find(Decision, newest_first=True, limit=PAGE)
        return render(request, "decisions.html", decisions=[queries.plain(one) for one in found], live="/live")

    def why(self, request: Request) -> Response:
        query = request.query_params  # "about" is in addresses that forges were told
        wanted = (query.get("q", "") or query.get("about", "")).strip()
        if not wanted:
            raise Invalid("why what? A commit, run, release, delivery or command", reason="bad_field")
        return render(request, "why.html", wanted=wanted, found=why(self._db, wanted))

    def promotions(self, request: Request) -> Response:
        found = promotions.promotions(self._db, "", "", PAGE, every=True)["promotions"]
        return render(request, "promotions.html", promotions=found, open_states=OPEN, live="/live")

    async def queue(self, request: Request) -> Response:
        stages, away = await self._stages() if sight.sees("") else ([], "")
        return await asyncio.to_thread(self._queue, request, stages, away)

    async def _stages(self) -> tuple[list[dict[str, Any]], str]:
        """What waits for each stage, and why nobody can say; a page without that is better than none."""
        now = datetime.datetime.now(datetime.UTC)
        try:
            async with asyncio.timeout(READ_LIMIT):
                found = await queues(self._bus)
        except (EncliiError, TimeoutError) as error:
            return [], str(error) or "the event store does not answer"
        named = ("stage", "waiting", "in_hand")
        return [{**{name: getattr(one, name) for name in named}, "oldest": one.age(now)} for one in found], ""

    def _queue(self, request: Request, stages: list[dict[str, Any]], away: str) -> Response:
        held = request.query_params.get("holds", "") == "1"
        holds = [one for one in self._db.find(Target) if one.held][:PAGE] if held else []
        busy, waiting = self._db.busy_jobs(PAGE)
        jobs = [queries.plain(job) for job in busy]
        begin = (datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=queue_figures.DAYS)).isoformat()
        worked = self._db.since(Job, queue_figures.Worked, begin, limit=MOST)
        workers = [queries.plain(one) for one in self._db.find(BuilderState)]
        return render(
            request, "queue.html", jobs=jobs, waiting=waiting, workers=workers,
            parked=queries.parked(self._db)["parked"][:PAGE], charts=queue(worked), live="/live", stages=stages,
            away=away, held=held, holds=[queries.plain(one) for one in holds],
        )  # fmt: skip

    async def settings(self, request: Request) -> Response:
        projects = await asyncio.to_thread(self._projects)
        checks = await self._doctor() if self._doctor and sight.sees("") else []
        return render(request, "settings.html", projects=projects, checks=checks)

    def _projects(self) -> list[dict[str, Any]]:
        found = []
        for one in self._db.find(Project, limit=PAGE):
            repositories = self._db.find(Repository, project=one.slug)
            # Of a repository only what it is called and where it is; its hook opens a door.
            listed = [{"name": r.name, "forge": r.forge, "url": r.url} for r in repositories]
            found.append({**queries.plain(one), "repositories": listed})
        return found


def number(request: Request, name: str, default: int) -> int:
    """A small whole number of the address, as ``v2`` or ``2``. Raises Invalid."""
    text = request.query_params.get(name, "").removeprefix("v")
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= _NUMBER_LENGTH):
        raise Invalid(f"{name}: a whole number", reason="bad_field")
    return max(int(text), 1)
