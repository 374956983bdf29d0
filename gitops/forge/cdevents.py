"""CDEvents 0.5.1 of runs, builds, images and services, made of the records: pure, the same each time, at the edge only.

An event's id follows from what it tells, so a receiver knows one that comes twice. The run is the chain, and what
follows from it links to what it came from. Contract: https://github.com/cdevents/spec/tree/v0.5.1
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from gitops.forge.notices import Notice
from pipeline.records import Deployment, Record, Target
from pipeline.runs import Job, Run

KIND: Final = "cdevents"
SPEC: Final = "0.5.1"
OUTCOMES: Final = {
    "succeeded": "success", "skipped": "success", "failed": "failure", "superseded": "cancel", "cancelled": "cancel",
}  # fmt: skip
Content = Mapping[str, Any]


@dataclass(frozen=True)
class CDEvent:
    """One event; ``key`` is what its id is made of, ``cause`` the key of the event that it comes from."""

    key: str
    type: str  # "service.deployed"
    at: str  # RFC 3339
    subject: str
    content: Content
    run: str = ""
    cause: str = ""
    more: Mapping[str, str] | None = None


def of(record: Record, stored: float, console: str) -> Iterator[Notice]:
    """What a record tells, each thing once however often the record is written; ``stored`` is when (Unix time)."""
    at = datetime.datetime.fromtimestamp(stored, datetime.UTC).isoformat(timespec="milliseconds")
    found: Iterator[CDEvent] = iter(())
    match record:
        case Run():
            found = _run(record, at, console)
        case Job():
            found = _job(record)
        case Deployment():
            found = _deployment(record)
        case Target():
            found = _target(record, at)
    project = str(getattr(record, "project", ""))
    for one in found:
        yield Notice(f"{KIND}/{one.key}", KIND, project, one.type, "", one.run, at=one.at, event=envelope(one, console))


def envelope(one: CDEvent, console: str) -> dict[str, Any]:
    """The event within its CloudEvent, structured: a signature covers a body, and no header."""
    kind = f"dev.cdevents.{one.type}.0.3.0"
    context: dict[str, Any] = {
        "specversion": SPEC, "id": _id(console, one.key), "source": console, "type": kind, "timestamp": one.at,
    }  # fmt: skip
    if one.run:
        context["chainId"] = _id(console, f"chain/{one.run}")
    if one.cause:
        context["links"] = [{"linkType": "PATH", "from": {"contextId": _id(console, one.cause)}}]
    data: dict[str, Any] = {
        "context": context,
        "subject": {"id": one.subject, "source": console, "content": one.content},
    }
    if one.more:
        data |= {"customData": dict(one.more), "customDataContentType": "application/json"}
    return {
        "specversion": "1.0", "id": context["id"], "source": console, "type": kind, "time": one.at,
        "subject": one.subject, "datacontenttype": "application/json", "data": data,
    }  # fmt: skip


def _run(one: Run, at: str, console: str) -> Iterator[CDEvent]:
    shown: dict[str, Any] = {"pipelineName": one.project, "uri": f"{console}/why?about={quote(one.id)}"}
    source = {"repository": one.repository, "ref": one.ref, "sha": one.sha}
    yield CDEvent(f"run/{one.id}/started", "pipelinerun.started", one.created_at, one.id, shown, one.id, "", source)
    if one.status in OUTCOMES:
        shown = shown | {"outcome": OUTCOMES[one.status]} | ({"errors": one.message} if one.message else {})
        key, cause = f"run/{one.id}/finished", f"run/{one.id}/started"
        yield CDEvent(key, "pipelinerun.finished", at, one.id, shown, one.id, cause, source)


def _job(one: Job) -> Iterator[CDEvent]:
    """A build is what was built: a job that took a known image has none."""
    stage = next((stage for stage in one.stages if stage.name == "build"), None)
    if stage is None:
        return
    key, subject = f"job/{one.run}/{one.service}", f"{one.run}/{one.service}"
    yield CDEvent(f"{key}/started", "build.started", stage.started_at, subject, {}, one.run, f"run/{one.run}/started")
    ended = stage.finished_at or one.finished_at
    if not ended:
        return
    artifact = purl(one.image)
    built = {"artifactId": artifact} if artifact else {}
    more = {"reason": one.reason} if one.reason else None
    yield CDEvent(f"{key}/finished", "build.finished", ended, subject, built, one.run, f"{key}/started", more)
    if artifact:
        yield CDEvent(f"{key}/published", "artifact.published", ended, artifact, {}, one.run, f"{key}/finished")


def _deployment(one: Deployment) -> Iterator[CDEvent]:
    """That it ran, proven by its digest, whatever became of it since."""
    artifact = purl(one.image)
    if not one.running_at or not artifact:
        return
    kind = "service.rolledback" if one.via == "rollback" or one.reverts else "service.deployed"
    content = {"environment": {"id": f"{one.project}/{one.environment}"}, "artifactId": artifact}
    more = {"deployment": one.id, "release": one.release, "sha": one.sha}
    cause = f"run/{one.run}/started" if one.run else ""
    subject = f"{one.project}/{one.service}"
    yield CDEvent(f"deployment/{one.id}/ran", kind, one.running_at, subject, content, one.run, cause, more)


def _target(one: Target, at: str) -> Iterator[CDEvent]:
    if one.deployment:
        return
    place = f"{one.project}/{one.environment}"
    key = f"target/{place}/{one.service}/{one.config_commit}/removed"
    yield CDEvent(key, "service.removed", at, f"{one.project}/{one.service}", {"environment": {"id": place}})


def purl(image: str) -> str:
    """The package URL of ``host/repository@sha256:…``; "" for what names no digest."""
    repository, _, digest = image.partition("@")
    if not digest:
        return ""
    name = quote(repository.rpartition("/")[2], safe="")
    return f"pkg:oci/{name}@{quote(digest, safe='')}?repository_url={quote(repository, safe='/')}"


def _id(console: str, key: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{console}/{key}"))
