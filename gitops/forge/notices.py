"""What people are told of beside their forge: failures, what is well again, holds and previews; pure, over records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pipeline.previews import Preview, is_preview
from pipeline.records import Deployment, Target

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


def of_deployment(one: Deployment) -> Notice | None:
    """A failure; or that it runs, which is a recovery where the last one had failed."""
    if is_preview(one.environment):
        return None
    where = f"{one.project}/{one.environment}/{one.service}"
    if one.status in ("failed", "degraded"):
        text = f"{one.message} ({one.reason})" if one.reason else one.message
        return Notice(f"failure/{one.id}", "failure", one.project, f"{where} {one.status}", text, one.id, where)
    if one.status == "running":
        return Notice(f"recovery/{one.id}", "recovery", one.project, f"{where} runs again", "", one.id, where)
    return None


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
