"""The shapes of the API's answers, as types: the OpenAPI document is generated from them and checked against the API.

A field without a default is always there. Answers are made as plain values elsewhere; these types are their promise.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from console.answer_types import struct_of, with_every_field
from pipeline.principals import Role
from pipeline.promotions import Promotion
from pipeline.records import BuilderState as Worker
from pipeline.records import (
    Decision,
    Deployment,
    Environment,
    Health,
    Job,
    Parked,
    Run,
)
from pipeline.retention_plan import Line

Deployed = with_every_field(
    Deployment,
    deployment_id=str, service_id=str, release_id=str, version=str, health=Health, replicas=int, ready_replicas=int,
)  # fmt: skip
RunShown = with_every_field(Run)
PushShown = struct_of("PushShown", repository=str, ref=str, sha=str, actor=str, at=str, delivery=str, run=str)
JobShown = with_every_field(Job)
DecisionShown = with_every_field(Decision)
ParkedShown = with_every_field(Parked)
PromotionShown = with_every_field(Promotion)
EnvironmentShown = with_every_field(Environment, project=str)
WorkerShown = with_every_field(Worker)
Finding = struct_of("Finding", level=Literal["ok", "warning", "error"], subject=str, message=str, fix=str)
RoleShown = struct_of("RoleShown", project=str, environment=str, role=Role)
Whoami = struct_of("Whoami", name=str, groups=list[str], roles=list[RoleShown])  # type: ignore[valid-type]
_TOKEN: dict[str, Any] = {
    "id": str, "name": str, "grants": list[RoleShown], "acts_as": str, "by": str, "created_at": str,  # type: ignore[valid-type]
    "expires_at": str, "used_at": str, "revoked_at": str, "active": bool,
}  # fmt: skip
TokenShown = struct_of("TokenShown", **_TOKEN)
TokenMade = struct_of("TokenMade", **_TOKEN, token=str)
DeviceLogin = struct_of("DeviceLogin", device_code=str, user_code=str, verification_uri=str,
                        verification_uri_complete=str, expires_in=int, interval=int)  # fmt: skip
DeviceToken = struct_of("DeviceToken", token=str, name=str, expires_at=str, id=str)


class Problem(msgspec.Struct):
    """RFC 9457. ``reason_code`` is for programs, ``exit_code`` what the command line ends with, ``next`` what to do."""

    type: str
    title: str
    status: int
    detail: str
    reason_code: str
    exit_code: int
    next: str


class Current(msgspec.Struct):
    """What is live; ``uptime`` is for people, ``since`` for programs."""

    id: str
    status: str
    health: Health
    replicas: str
    version: str
    uptime: str
    since: str


class Service(msgspec.Struct):
    """A service; ``current_deployment`` with ``include_status`` alone."""

    id: str
    name: str
    current_deployment: Current | None = None


class Services(msgspec.Struct):
    project: str
    environment: str
    services: list[Service]
    next: str


class ReleaseShown(msgspec.Struct):
    """A release, with the newest that happened to it.

    ``live`` are the environments that run it, ``desired`` those that shall; ``took`` the seconds from the push until it
    ran; ``available``, when that was asked for, whether the registry has its image (null: it did not say).
    """

    id: str
    version: str
    number: int
    image_uri: str
    digest: str
    git_sha: str
    ref: str
    subject_line: str
    created_at: str
    actor: str
    via: str
    run: str
    reused: bool
    status: str
    live: list[str]
    desired: list[str]
    took: float | None
    available: bool | None = None


class Hold(msgspec.Struct):
    """``from`` is what was live when it began, ``waiting`` the newest that it keeps back."""

    project: str
    environment: str
    service: str
    by: str
    reason: str
    since: str
    waiting: str


class Queue(msgspec.Struct):
    """What waits for one stage; ``oldest_seconds`` is the age of the oldest event that it has not finished."""

    stage: str
    stream: str
    waiting: int
    in_hand: int
    oldest_seconds: float


class Accepted(msgspec.Struct):
    """A command was published; ``GET /v1/commands/{command}`` says how it ended."""

    command: str


class SecretAccepted(msgspec.Struct):
    command: str
    version: int = 0


class CommandShown(msgspec.Struct):
    id: str
    status: Literal["pending", "decided"]
    decision: DecisionShown | None  # type: ignore[valid-type]
    decisions: list[DecisionShown]  # type: ignore[valid-type]


class Build(msgspec.Struct):
    """One build and its steps; ``log_run`` is the run whose log tells of it."""

    run: str
    project: str
    service: str
    release: str
    sha: str
    status: str
    reason: str
    message: str
    reused: bool
    log_run: str
    image: str
    started_at: str
    finished_at: str
    builder: str
    steps: list[dict[str, Any]]
    dropped: int
    own_steps: int
    cached_steps: int
    first_built: str


class Configured(msgspec.Struct):
    """What is configured on one side."""

    version: str
    env: dict[str, str]
    secrets: dict[str, str]


class Configuration(msgspec.Struct):
    project: str
    environment: str
    service: str
    wanted: Configured | None
    live: Configured | None


class SecretShown(msgspec.Struct):
    """A secret's name and versions; never its value."""

    name: str
    version: int | None
    live: int | None
    by: str
    at: str


class Plan(msgspec.Struct):
    """What a rollback would do now; ``from`` and ``to`` are versions."""

    project: str
    environment: str
    service: str
    expected: str
    to: str
    image: str
    git_sha: str
    undone: list[dict[str, str]]
    held: bool
    recovered: bool
    changes: list[dict[str, Any]]
    secrets: list[dict[str, Any]]
    warnings: list[str]


class RetentionPlan(msgspec.Struct):
    token: str = ""
    frees: int = 0
    kept: int = 0
    shed: int = 0
    lines: list[Line] = []


RunWhole = with_every_field(Run, "RunWhole", jobs=list[JobShown], deployments=list[Deployed], finished=bool)  # type: ignore[valid-type]
Why = struct_of(
    "Why", query=str, decisions=list[DecisionShown], runs=list[RunShown], jobs=list[dict[str, Any]],  # type: ignore[valid-type]
    releases=list[dict[str, Any]], deployments=list[dict[str, Any]], parked=list[ParkedShown],  # type: ignore[valid-type]
    promotions=list[dict[str, Any]],
)  # fmt: skip


class TraceStep(msgspec.Struct):
    """One step of a run or of a command; times are None until it began, or ended."""

    run: str
    command: str
    service: str
    step: str
    started_at: str
    ended_at: str
    after_seconds: float | None
    seconds: float | None


class Trace(msgspec.Struct):
    """The steps of what was asked for, and the ids of its traces in hex."""

    query: str
    traces: list[str]
    steps: list[TraceStep]
