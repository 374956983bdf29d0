"""The pictures that stand on pages of other things: a service's deployments, a run's stages."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from console.projection import Projection
from console.texts import version
from console.web.places import Place
from pipeline.records import Deployment

if TYPE_CHECKING:
    from markupsafe import Markup

SHOWN = 30


def time_line(db: Projection, place: Place) -> Markup:
    """The newest deployments of a service in an environment on a line of time."""
    from console.web import charts  # with what templates need, at the first page

    found = db.find(
        Deployment, project=place.project, environment=place.environment, service=place.service, newest_first=True,
        limit=SHOWN,
    )  # fmt: skip
    points = [(one.created_at, version(one.release) or "?", one.status) for one in found]
    title = f"Deployments of {place.service} in {place.environment}"
    return charts.time_line(points, now=datetime.datetime.now(datetime.UTC), title=title)


def pipelines(run: dict[str, Any], took: Callable[[dict[str, str], datetime.datetime], str]) -> dict[str, Markup]:
    """By service, the stages of its job; ``took`` says how long one took."""
    from console.web import charts

    now = datetime.datetime.now(datetime.UTC)
    found = {}
    for job in run["jobs"]:
        ended = job["status"] if job["status"] in ("failed", "cancelled") else "now"
        stages = [(one["name"], "done" if one["finished_at"] else ended, took(one, now)) for one in job["stages"]]
        found[job["service"]] = charts.pipeline(stages, title=f"Stages of {job['service']}")
    return found
