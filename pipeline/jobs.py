"""How a job moves through its stages: pure steps from one record to the next, and the question whether to go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import msgspec

from pipeline.errors import EncliiError
from pipeline.events import Event
from pipeline.previews import GONE, Preview, PreviewRef
from pipeline.records import Branch, Decision, Job, JobStatus, Run, RunStatus, Stage
from pipeline.store import Change, Step, Store, Stored, now

OPEN: frozenset[JobStatus] = frozenset({"queued", "building", "signing", "committing"})


def begun(job: Job, stage: str, status: JobStatus, *, at: str = "") -> Job:
    """The job with ``stage`` begun; beginning it again after a crash keeps the first time."""
    known = any(one.name == stage for one in job.stages)
    stages = job.stages if known else (*job.stages, Stage(name=stage, started_at=at or now()))
    return msgspec.structs.replace(job, stages=stages, status=status)


def finished(job: Job, stage: str, *, at: str = "") -> Job:
    """The job with ``stage`` finished."""
    stages = tuple(
        msgspec.structs.replace(one, finished_at=at or now()) if one.name == stage and not one.finished_at else one
        for one in job.stages
    )
    return msgspec.structs.replace(job, stages=stages)


def ended(job: Job, status: JobStatus, *, reason: str = "", message: str = "") -> Job:
    """The job at its end."""
    return msgspec.structs.replace(job, status=status, reason=reason, message=message, finished_at=now())


def run_status(run: Run, of_run: Sequence[Job]) -> RunStatus:
    """How a run stands: by its own record when it was ended as a whole, else by its jobs."""
    if run.status != "running":
        return run.status
    found = {job.status for job in of_run}
    if found & OPEN or len(of_run) < len(run.services):
        return "running"
    for status in ("failed", "cancelled", "superseded"):
        if status in found:
            return cast(RunStatus, status)
    return "succeeded"


async def open_job(store: Store, run: str, service: str, *statuses: JobStatus) -> Stored[Job] | None:
    """The job if it waits for a stage of one of ``statuses``; None when the stage's work is already recorded."""
    found = await store.get(Job, run, service)
    return found if found is not None and found.record.status in statuses else None


async def of_preview(store: Store, run_id: str) -> bool:
    """Whether the run builds a preview, which the release key never speaks of."""
    run = await store.get(Run, run_id)
    return run is not None and run.record.preview is not None


async def why_stop(store: Store, run_id: str) -> tuple[JobStatus, str, str] | None:
    """(status, reason, message) when the run is no longer wanted: cancelled, or its branch has a newer run."""
    run = await store.get(Run, run_id)
    if run is None:
        return "failed", "run_unknown", "there is no such run"
    if run.record.status == "cancelled":
        return "cancelled", "cancelled", run.record.message or "cancelled"
    if run.record.preview is not None:
        return await _why_stop_preview(store, run.record, run.record.preview)
    branch = await store.get(Branch, run.record.repository, run.record.ref)
    if branch is not None and branch.record.run != run_id:
        return "superseded", "newer_push", f"replaced by {branch.record.run}, a newer push to the branch"
    return None


async def _why_stop_preview(store: Store, run: Run, ref: PreviewRef) -> tuple[JobStatus, str, str] | None:
    preview = await store.get(Preview, *ref.key(run.repository))
    if preview is None or preview.record.state in GONE:
        return "cancelled", "preview_closed", "the preview was closed"
    if preview.record.run != run.id:
        return "superseded", "newer_push", f"replaced by {preview.record.run}, a newer head"
    return None


def decision(job: Job, run: Run | None) -> Decision:
    """How a job ended that no release came of, for whoever asks about its push, commit or run."""
    return Decision(
        id=f"{job.run}/{job.service}", about="job", outcome="failed" if job.status == "failed" else "skipped",
        reason=job.reason, message=job.message, project=job.project, service=job.service, run=job.run,
        repository=run.repository if run else "", ref=run.ref if run else "", sha=run.sha if run else "",
        actor=run.actor if run else "", release=job.release, at=now(),
    )  # fmt: skip


async def ended_step(store: Store, found: Stored[Job], status: JobStatus, reason: str, message: str) -> Step:
    """The job at an end that no release comes of, with the decision that says so."""
    job = ended(found.record, status, reason=reason, message=message)
    run = await store.get(Run, job.run)
    return Step((Change(job, found.seq), Change(decision(job, run.record if run else None), None)))


async def failed_step(event: Event, error: Exception, store: Store) -> Step:
    """The job of an event that is given up on, as failed with the error's reason."""
    found = await open_job(store, getattr(event, "run", ""), getattr(event, "service", ""), *OPEN)
    if found is None:
        return Step()
    reason = error.reason if isinstance(error, EncliiError) else "unexpected"
    message = error.message if isinstance(error, EncliiError) else type(error).__name__
    return await ended_step(store, found, "failed", reason, message)
