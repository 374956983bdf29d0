"""The pictures that stand on pages of other things: a service's deployments, a run's stages."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from console import queue_figures
from console.projection import Projection
from console.queue_figures import Worked
from console.texts import version
from console.web.places import Place
from console.web.stages import Step, steps
from pipeline.records import Deployment, Job

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


def queue(jobs: Sequence[Worked | Job]) -> tuple[Markup, Markup]:
    """How many jobs waited in each of the last hours, and on each of the last days how many took a known image."""
    from console.web import charts

    now = datetime.datetime.now(datetime.UTC)
    waited = [(hour, count, 0) for hour, count in queue_figures.waited(jobs, now=now)]
    most = max(count for _, count, _ in waited)
    said = f"in the last {len(waited)} hours at most {most} waited at once, {waited[-1][1]} in this hour."
    cached = queue_figures.cached(jobs, now=now)
    reused, built = sum(one[1] for one in cached), sum(one[2] for one in cached)
    spared = f"{reused} of {reused + built} jobs in {len(cached)} days took an image that was known; {built} built one."
    return (
        charts.columns(waited, title="Jobs that waited", said=said, words=("waited at once", ""),
                       kinds=("busy", "plain"), each="at once"),
        charts.columns(cached, title="Builds that were not needed", said=spared,
                       words=("took an image that was known", "built one"), kinds=("good", "plain"), each="a day"),
    )  # fmt: skip


def pipelines(run: dict[str, Any]) -> dict[str, tuple[list[Step], Markup]]:
    """By service, its steps from the queue to the rollout, as they are and as a picture."""
    from console.web import charts

    now = datetime.datetime.now(datetime.UTC)
    found = {}
    for job in run["jobs"]:
        way = steps(run, job, now)
        found[job["service"]] = way, charts.pipeline(way, title=f"Steps of {job['service']}")
    return found
