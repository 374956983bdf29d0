"""The pages with figures and pictures, and the one that sets up."""

from __future__ import annotations

import asyncio
import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from console import figures, queries, queue_figures, sight
from console.projection import Projection
from console.web.pages import MOST, Doctor
from console.web.rendering import render
from console.web.security import SESSION
from console.web.sessions import form_token
from pipeline.records import Deployment, Job, Project, Release, Run


class Pictures:
    """The handlers."""

    def __init__(self, db: Projection, doctor: Doctor | None) -> None:
        self._db = db
        self._doctor = doctor

    def routes(self) -> list[Route]:
        return [
            Route("/figures", self.figures, methods=["GET"]),
            Route("/setup", self.setup, methods=["GET"]),
            Route("/session", self.session, methods=["GET"]),
        ]

    def session(self, request: Request) -> Response:
        """What an open page asks before it sends a form: the token of the login that there is now."""
        return JSONResponse({"csrf": form_token(request.scope[SESSION])})

    def figures(self, request: Request) -> Response:
        from console.web import charts  # with what templates need, at the first page

        wanted = request.query_params.get("project", "")
        if wanted:
            queries.known_project(self._db, wanted)
        now = datetime.datetime.now(datetime.UTC)
        begin = (now - datetime.timedelta(days=figures.DAYS)).isoformat()
        found = self._db.since(Deployment, figures.Change, begin, limit=MOST, project=wanted)
        begun = self._db.since(Run, figures.Began, begin, limit=MOST, project=wanted)
        runs = {one.id: one.created_at for one in begun}
        names = sorted({(one.project, one.service if wanted else "") for one in found})
        rows = [
            (project, service, figures.figures(
                [one for one in found if one.project == project and service in ("", one.service)], runs, now=now))
            for project, service in names
        ]  # fmt: skip
        jobs = self._db.since(Job, queue_figures.Worked, begin, limit=MOST, project=wanted)
        built = [one for one in jobs if one.image]
        return render(
            request, "figures.html", wanted=wanted, rows=rows,
            chart=charts.bars(figures.by_day(found, now=now), title=f"Deployments of {wanted or 'every project'}"),
            cache=charts.share(sum(one.reused for one in built), len(built), title="Builds that were not needed",
                               of="jobs took an image that was known"),
        )  # fmt: skip

    async def setup(self, request: Request) -> Response:
        checks = await self._doctor() if self._doctor and sight.sees("") else []
        done = await asyncio.to_thread(self._steps)
        return render(request, "setup.html", checks=[one for one in checks if one["level"] != "ok"], done=done)

    def _steps(self) -> dict[str, Any]:
        release = next(iter(self._db.find(Release, newest_first=True, limit=1)), None)
        deployed = self._db.find(Deployment, newest_first=True, limit=20)
        running = next((one for one in deployed if one.running_at), None)
        return {
            "project": next((one for one in self._db.find(Project) if one.repositories), None),
            "run": next(iter(self._db.find(Run, newest_first=True, limit=1)), None),
            "release": release,
            "running": running,
        }
