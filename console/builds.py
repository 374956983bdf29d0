"""Builds as people ask for them: how each ended, what the cache had, the first step without it, what took long."""

from __future__ import annotations

from typing import Any

from console import paging
from console.projection import Projection
from console.queries import check_scope, plain
from pipeline.build_report import BuilderState, BuildReport, BuildStep
from pipeline.errors import NotFound
from pipeline.records import Image, Job, Release, Run

Value = dict[str, Any]


def builds(db: Projection, project: str, service: str, limit: int, after: tuple[str, ...] | None = None) -> Value:
    """The newest builds, newest first. Raises NotFound."""
    check_scope(db, project, "", service)
    found, following = db.page(Job, limit=limit, after=after, project=project, service=service)
    return {"builds": [view(db, job) for job in found], **paging.following(following)}


def build_of(db: Projection, wanted: str, service: str) -> Value:
    """The build behind a release (``shop.web.v41``) or of a run; with several services, of ``service``."""
    release = db.get(Release, wanted)
    run, name = (release.run, release.service) if release else (wanted, service)
    found = [job for job in db.find(Job, run=run) if name in ("", job.service)]
    if len(found) > 1:
        names = ", ".join(sorted(job.service for job in found))
        raise NotFound(f"run {wanted[:80]} built several services: which one? There is: {names}", reason="which_build")
    if not found:
        raise NotFound(f"no build of {wanted[:80]!r} is known", reason="no_such_build")
    return view(db, found[0])


def view(db: Projection, job: Job) -> Value:
    """One build; ``log_run`` is the run whose log tells of it, an earlier one when the image was known."""
    report = job.report or BuildReport()
    run = db.get(Run, job.run)
    stage = next((one for one in job.stages if one.name == "build"), None)
    known = db.get(Image, job.build_key) if job.reused else None
    releases = [one for one in db.find(Release, run=job.run) if one.service == job.service]
    first = report.first_built()
    return {
        "run": job.run, "project": job.project, "service": job.service, "release": releases[0].id if releases else "",
        "sha": run.sha if run else "", "status": job.status, "reason": job.reason, "message": job.message,
        "reused": job.reused, "log_run": known.run if known else job.run, "image": job.image,
        "started_at": stage.started_at if stage else "", "finished_at": stage.finished_at if stage else "",
        "builder": report.builder, "steps": [_step(one) for one in report.steps], "dropped": report.dropped,
        "own_steps": len(report.own()), "cached_steps": sum(one.cached for one in report.own()),
        "first_built": first.name if first else "",
    }  # fmt: skip


def _step(step: BuildStep) -> Value:
    return plain(step) | {"internal": step.internal}


def builders(db: Projection) -> list[dict[str, str]]:
    """What builds here and why, as findings of ``doctor``."""
    found = []
    for one in db.find(BuilderState):
        subject = f"builder {one.worker}"
        found += [_finding("ok", subject, why) for why in one.why]
        found += [_finding("warning", subject, problem) for problem in one.problems]
    return found or [_finding("warning", "builder", "none has said yet what it builds with", "is the builder up?")]


def _finding(level: str, subject: str, message: str, fix: str = "") -> dict[str, str]:
    return {"level": level, "subject": subject, "message": message, "fix": fix}
