"""What forges are to show, as pure functions of records."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

from gitops.forge import Check, EnvironmentState, Shown, State
from pipeline.deliveries import CHECKS
from pipeline.previews import Preview
from pipeline.records import Deployment, Job, Run

JOBS: Final[dict[str, tuple[State, str]]] = {
    "queued": ("pending", "waits for a builder"),
    "building": ("pending", "is being built"),
    "signing": ("pending", "is being signed"),
    "committing": ("pending", "is signed and on its way"),
    "deployed": ("success", "is released"),
    "held": ("success", "is released and held"),
    "skipped": ("success", "has not changed"),
    "failed": ("failure", "failed"),
    "superseded": ("success", "was left out: a newer push came"),
    "cancelled": ("failure", "was cancelled"),
}
DEPLOYMENTS: Final[dict[str, EnvironmentState]] = {
    "progressing": "in_progress",
    "running": "success",
    "degraded": "failure",
    "failed": "failure",
    "rolled_back": "inactive",
    "replaced": "inactive",
    "removed": "inactive",
}
PREVIEWS: Final[dict[str, State]] = {
    "waiting": "waiting",
    "building": "pending",
    "ready": "success",
    "failed": "failure",
    "asleep": "success",
    "removing": "success",
    "removed": "success",
}
SHOWN: Final[dict[str, EnvironmentState]] = {
    "building": "in_progress",
    "ready": "success",
    "asleep": "success",
    "failed": "failure",
    "removing": "inactive",
    "removed": "inactive",
}
PREVIEW_CHECK: Final = CHECKS + "preview"
AGAIN: Final = ("Run again", "Build and deploy it again", "again")
APPROVE: Final = ("Approve this commit", "I have read it; no secrets are given", "approve")
TITLE: Final = 140


def of_run(run: Run, jobs: Sequence[Job], *, console_url: str) -> list[Check]:
    """A check for each service of a run; one for the run itself when it never got that far."""
    if not jobs:
        if run.status != "failed":
            return []
        return [_check(run, CHECKS + "push", "failure", run.message or run.reason, console_url)]
    return [_of_job(run, job, console_url) for job in jobs]


def _of_job(run: Run, job: Job, console_url: str) -> Check:
    state, words = JOBS[job.status]
    version = job.release.rpartition(".")[2]
    title = f"{job.service} {words}" + (f" as {version}" if version and state == "success" else "")
    if state == "failure":
        title += f": {job.message or job.reason}"
    return _check(run, CHECKS + job.service, state, title, console_url)


def _check(run: Run, name: str, state: State, title: str, console_url: str) -> Check:
    return Check(run.sha, name, state, _line(title), f"{console_url}/why?about={run.id}", key=run.id)


def of_deployment(deployment: Deployment, *, address: str, production: bool, console_url: str) -> Shown | None:
    """What the forge's list of environments shows of a deployment; None for what git does not hold."""
    state = DEPLOYMENTS.get(deployment.status)
    if state is None or not deployment.config_commit or not deployment.sha:
        return None
    version = deployment.release.rpartition(".")[2]
    title = f"{deployment.service} {version}: {deployment.message or deployment.status}"
    return Shown(
        sha=deployment.sha, environment=f"{deployment.environment}/{deployment.service}", state=state,
        key=deployment.id, title=_line(title), url=address if state == "success" else "",
        log=f"{console_url}/why?about={deployment.id}", production=production,
    )  # fmt: skip


def check_of_preview(preview: Preview, *, console_url: str) -> Check | None:
    """The preview's check on the head that is wanted."""
    if not preview.newest:
        return None
    state = PREVIEWS[preview.state]
    if preview.state == "removed" and preview.reason in ("", "closed", "moved"):
        state = "success"
    waits = state == "waiting" and preview.fork
    title = "approval needed" if waits else preview.message or f"the preview is {preview.state}"
    buttons = (APPROVE,) if waits else (AGAIN,) if state != "pending" else ()
    url = f"{console_url}/why?about={preview.run or preview.id}"
    return Check(preview.newest, PREVIEW_CHECK, state, _line(title), url, key=preview.id, buttons=buttons)


def shown_of_preview(preview: Preview, *, console_url: str) -> Shown | None:
    """The preview in the forge's list of environments: one that passes."""
    state = SHOWN.get(preview.state)
    if state is None or not preview.sha:
        return None
    title = "destroyed" if state == "inactive" else preview.message or preview.state
    url = next((one.address for one in preview.services if one.address), "") if state == "success" else ""
    return Shown(
        sha=preview.sha, environment=f"preview/pr-{preview.number}", state=state, key=preview.id, title=_line(title),
        url=url, log=f"{console_url}/why?about={preview.run or preview.id}", transient=True,
    )  # fmt: skip


def digest(said: object) -> str:
    """What tells whether something was said before."""
    return hashlib.sha256(msgspec.json.encode(said)).hexdigest()[:32]


def _line(text: str) -> str:
    """One line of printable characters that calls nobody."""
    plain = "".join(char if char.isprintable() else " " for char in text).replace("@", "@\u200b")
    return plain[: TITLE - 1] + "…" if len(plain) > TITLE else plain
