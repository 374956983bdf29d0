"""Which build logs go: a log is kept as long as the image that its build made, or that later pushes reuse. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Collection
from dataclasses import dataclass

from pipeline.jobs import OPEN
from pipeline.log_stream import subject
from pipeline.records import Job
from pipeline.retention import Key, Limits
from pipeline.retention_needs import Records, age, key_of


@dataclass(frozen=True)
class Going:
    """One build's log that nothing needs any more, and why."""

    job: Job
    why: str

    @property
    def subject(self) -> str:
        return subject(self.job.run, self.job.service)


def going(
    stored: Collection[str], records: Records, kept: Collection[Key], limits: Limits, *, now: datetime.datetime
) -> tuple[Going, ...]:
    """What goes of the logs in ``stored`` (subjects); ``kept`` are the images that stay in the registry.

    A log that no record explains stays, as does that of a build that is young or on its way.
    """
    started = {run.id: run.created_at for run in records.runs}
    previews = {run.id: (run.project, run.preview.environment) for run in records.runs if run.preview}
    found = []
    for job in records.jobs:
        if job.status in OPEN or subject(job.run, job.service) not in stored:
            continue
        old = age(job.finished_at or job.created_at or started.get(job.run, ""), now)
        needed = key_of(job.image) in kept or previews.get(job.run) in records.previews
        if old is None or needed or old < (limits.grace if job.image else limits.cache):
            continue
        found.append(Going(job, "its image goes or is gone" if job.image else "it made no image, and is long ago"))
    return tuple(found)
