"""What people are told of beside their forge: failures, what is well again, holds and previews; pure, over records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pipeline.previews import Preview, is_preview
from pipeline.records import Deployment, Target
from pipeline.runs import Run

PREVIEWS: Final = {"ready": "is ready", "failed": "failed", "removed": "is gone"}


@dataclass(frozen=True)
class Notice:
    """One thing to tell, once: ``id`` is the same however often it is looked at."""

    id: str
    kind: str
    project: str
    title: str
    text: str
    about: str  # what `enclii why` explains
    place: str = ""  # of a failure and of its recovery
    at: str = ""  # when it became so
    event: Mapping[str, Any] | None = None  # a CloudEvent, for programs


def of_deployment(one: Deployment) -> Notice | None:
    """A failure; or that it runs, which is a recovery where the last one had failed."""
    if is_preview(one.environment):
        return None
    where = f"{one.project}/{one.environment}/{one.service}"
    at = one.since or one.finished_at or one.created_at
    identity = f"{one.id}/{one.status}/{one.since}"  # each time that it becomes so is another one
    if one.status in ("failed", "degraded"):
        text = f"{one.message} ({one.reason})" if one.reason else one.message
        return Notice(f"failure/{identity}", "failure", one.project, f"{where} {one.status}", text, one.id, where, at)
    if one.status == "running":
        return Notice(f"recovery/{identity}", "recovery", one.project, f"{where} runs again", "", one.id, where, at)
    return None


def of_run(one: Run) -> Notice | None:
    """A push that came to no release; its next push's success is no recovery, for nothing was down."""
    if one.preview is not None or one.status != "failed":
        return None
    text = f"{one.message} ({one.reason})" if one.reason else one.message
    title = f"{one.project}: the run of {one.sha[:12]} failed"
    return Notice(f"failure/{one.id}/failed", "failure", one.project, title, text or one.subject_line, one.id)


def of_target(one: Target) -> Notice | None:
    """A hold."""
    if not one.hold_since:
        return None
    where = f"{one.project}/{one.environment}/{one.service}"
    text = f"by {one.hold_by}: {one.hold_reason}" if one.hold_by else one.hold_reason
    return Notice(f"hold/{where}/{one.hold_since}", "hold", one.project, f"{where} is held", text, one.deployment)


def of_preview(one: Preview) -> Notice | None:
    """A preview's state that people wait for, or the warning before its end."""
    name = f"{one.project}/{one.environment}"
    about = one.run or one.id
    if one.warned_at and one.state in ("ready", "asleep"):
        said = f"nobody uses it; it goes at {one.expires_at}"
        return Notice(f"preview/{one.id}/{one.warned_at}/warned", "preview", one.project, f"{name} ends", said, about)
    if one.state not in PREVIEWS:
        return None
    addresses = " ".join(service.address for service in one.services if service.address)
    said = one.message if one.state != "ready" else addresses
    identity = f"preview/{one.id}/{one.created_at}/{one.state}/{one.sha}"
    return Notice(identity, "preview", one.project, f"{name} {PREVIEWS[one.state]}", said, about)
