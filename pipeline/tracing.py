"""Spans of OpenTelemetry's model: what a process did for one trace, handed to an exporter where one is configured.

Every event carries the trace of what began it, so a push is one trace from the webhook to the rollout without any
state of its own. Where pushes collapse into one, the span links to the others' traces. Attributes follow the semantic
conventions for CI/CD, VCS and messaging.
"""

from __future__ import annotations

import contextlib
import contextvars
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from pipeline import trace
from pipeline.events import Event
from pipeline.trace import Context

Kind = Literal["server", "producer", "consumer", "internal"]
TASKS: Final = {"build.requested": "build", "release.ready": "deploy"}
_NAMED: Final = {
    "run": "cicd.pipeline.run.id",
    "sha": "vcs.ref.head.revision",
    "ref": "vcs.ref.head.name",
    "source_url": "vcs.repository.url.full",
    "project": "enclii.project",
    "environment": "enclii.environment",
    "service": "enclii.service",
    "release": "enclii.release",
    "deployment": "enclii.deployment",
}


@dataclass(frozen=True)
class Span:
    """One piece of work; times in seconds since the epoch. ``parent`` is empty for a trace's root."""

    name: str
    kind: Kind
    trace: str
    id: str
    parent: str
    began: float
    ended: float
    attributes: Mapping[str, str]
    links: tuple[Context, ...] = ()
    error: str = ""


@dataclass
class _Now:
    export: Callable[[Span], None] | None = None
    links: contextvars.ContextVar[list[str] | None] = field(
        default_factory=lambda: contextvars.ContextVar("enclii_links", default=None)
    )


_now: Final = _Now()


def export_to(exporter: Callable[[Span], None] | None) -> None:
    """Hand every span of this process to ``exporter`` from now on; None: none is made."""
    _now.export = exporter


def active() -> bool:
    """Whether anybody wants spans: what only they need is not looked up otherwise."""
    return _now.export is not None


def link(traceparent: str) -> None:
    """Say within a piece of work that it takes up what another trace began."""
    links = _now.links.get()
    if links is not None and traceparent:
        links.append(traceparent)


@contextlib.contextmanager
def linking() -> Iterator[list[str]]:
    """Collect what ``link`` is told inside."""
    links: list[str] = []
    token = _now.links.set(links)
    try:
        yield links
    finally:
        _now.links.reset(token)


def published(event: Event) -> None:
    """The root of a trace: what began here was published."""
    begun = trace.context(event.trace)
    if _now.export is None or begun is None:
        return
    moment = time.time()
    told = attributes(event) | {"messaging.operation.type": "send"}
    _now.export(Span(f"send {event.type}", "producer", begun.trace, begun.span, "", moment, moment, told))


def processed(stage: str, event: Event, seconds: float, *, links: list[str], error: str = "") -> None:
    """A stage handled an event that took so long until now."""
    told = attributes(event) | {
        "messaging.operation.type": "process",
        "messaging.consumer.group.name": stage,
        "cicd.pipeline.task.name": stage,
        "cicd.pipeline.task.run.id": event.id,
    }
    if event.type in TASKS:
        told["cicd.pipeline.task.type"] = TASKS[event.type]
    span(f"process {event.type}", "consumer", event.trace, seconds, told, links=links, error=error)


def span(
    name: str, kind: Kind, traceparent: str, seconds: float, told: Mapping[str, str], *, links: list[str] | None = None,
    error: str = "",
) -> None:  # fmt: skip
    """A piece of work of the given trace that ended now."""
    parent = trace.context(traceparent)
    if _now.export is None or parent is None:
        return
    ended = time.time()
    linked = tuple(found for one in links or () if (found := trace.context(one)))
    _now.export(
        Span(name, kind, parent.trace, secrets.token_hex(8), parent.span, ended - seconds, ended, told, linked, error)
    )


def attributes(event: Event) -> dict[str, str]:
    """What an event is about, in the words of the conventions."""
    about = {said: str(value) for name, said in _NAMED.items() if (value := getattr(event, name, ""))}
    message = {
        "messaging.system": "nats",
        "messaging.destination.name": f"ev.{event.type}",
        "messaging.message.id": event.id,
    }
    pipeline = "/".join(part for part in (getattr(event, "project", ""), getattr(event, "service", "")) if part)
    return message | about | ({"cicd.pipeline.name": pipeline} if pipeline else {})
