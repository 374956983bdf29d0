"""What each address of the API takes and answers: the table that the OpenAPI document is generated from.

A test compares it with the routes that are served, so that no address is undocumented and none is documented in vain.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from console import actions, answers
from console.answer_types import listed, many, struct_of
from console.audit import Entry
from pipeline.build_secrets import KeptBuildSecret
from pipeline.events import Event, PreviewRequested
from pipeline.principals import Role


@dataclass(frozen=True)
class Operation:
    """One method of one address. ``query`` are names of PARAMETERS, ``needed`` those that must be there.

    ``body`` is the type of the JSON body, or a JSON schema; ``answer`` that of the answer, None for a stream of events.
    """

    summary: str
    tag: str
    answer: Any = None
    query: str = ""
    needed: str = ""
    body: Any = None
    status: int = 200


PARAMETERS: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "project": ({"type": "string"}, "only of this project"),
    "environment": ({"type": "string"}, "only of this environment"),
    "service": ({"type": "string"}, "only of this service"),
    "release": ({"type": "string"}, "a release's id"),
    "image": ({"type": "string"}, "an image by digest"),
    "status": ({"type": "string"}, "only with this status"),
    "about": ({"type": "string"}, "only about this kind of thing"),
    "outcome": ({"type": "string"}, "only with this outcome"),
    "reason": ({"type": "string"}, "only with this reason code"),
    "actor": ({"type": "string"}, "only by this person"),
    "who": ({"type": "string"}, "only by this person or token"),
    "way": ({"type": "string"}, "only by this way: push, CLI, page, comment, API or git"),
    "what": ({"type": "string"}, "only this act"),
    "result": ({"type": "string"}, "only with this result"),
    "type": ({"type": "string"}, "only this type of event"),
    "limit": ({"type": "integer", "minimum": 0}, "entries of a page, at most"),
    "cursor": ({"type": "string"}, "where the page begins: the `next` of the page before"),
    "include_status": ({"type": "boolean"}, "with what is live"),
    "all": ({"type": "boolean"}, "what has ended, too"),
    "to": ({"type": "integer", "minimum": 0}, "a release's number; 0: the last healthy one"),
    "follow": ({"type": "boolean"}, "go on with what comes"),
    "previous": ({"type": "boolean"}, "the last lines of dead containers"),
    "tail": ({"type": "integer", "minimum": 0}, "so many of the newest lines"),
    "since": ({"type": "string"}, "a time as RFC 3339"),
    "until": ({"type": "string"}, "a time as RFC 3339"),
    "available": ({"type": "boolean"}, "ask the registry whether it has each image"),
    "after": ({"type": "integer", "minimum": 0}, "answer when something behind this position was read"),
    "wait": ({"type": "integer", "minimum": 0}, "seconds to wait for that"),
}
_PLACE: Final = "project environment service"
_PAGED: Final = "limit cursor"
_ANY: Final[Any] = dict[str, Any]


def _some(name: str, field: str) -> Any:
    """A list of things whose fields follow what they are about."""
    return struct_of(name, **{field: list[dict[str, Any]]})


READS: Final[dict[str, Operation]] = {
    "/v1/openapi.json": Operation("this document", "API", _ANY),
    "/v1/projects": Operation("all projects", "Projects", _some("Projects", "projects")),
    "/v1/projects/{slug}": Operation("one project", "Projects", _ANY),
    "/v1/projects/{slug}/environments": Operation(
        "its environments and their rules", "Environments",
        many("Environments", answers.EnvironmentShown, "environments"),
    ),
    "/v1/projects/{slug}/pushes": Operation(
        "what was pushed and is not planned yet", "Runs", many("Pushes", answers.PushShown, "pushes")
    ),
    "/v1/projects/{slug}/services": Operation(
        "its services, with what is live", "Services", answers.Services, f"environment include_status {_PAGED}"
    ),
    "/v1/services/{id}": Operation("one service, in every environment", "Services", _ANY),
    "/v1/services/{id}/deployments/latest": Operation(
        "the newest attempt to deploy it", "Deployments", answers.Deployed, "environment"
    ),
    "/v1/services/{id}/releases": Operation(
        "its releases, newest first", "Releases",
        listed("Releases", answers.ReleaseShown, "releases", service=str), f"environment available {_PAGED}",
    ),
    "/v1/services/{id}/rollback-plan": Operation(
        "what a rollback would do", "Releases", answers.Plan, "environment to", "environment"
    ),
    "/v1/services/{id}/logs": Operation(
        "its lines, one event each", "Logs", None, "environment follow previous tail since until release", "environment"
    ),
    "/v1/services/{id}/configuration": Operation(
        "what it is configured with", "Services", answers.Configuration, "environment", "environment"
    ),
    "/v1/services/{id}/secrets": Operation(
        "its secrets' names and versions", "Secrets",
        many("Secrets", answers.SecretShown, "secrets"), "environment", "environment",
    ),
    "/v1/services/{id}/build-secrets": Operation(
        "the names of its builds' secrets", "Secrets", many("BuildSecrets", KeptBuildSecret, "secrets")
    ),
    "/v1/build-secrets/key": Operation(
        "the builder's key to seal a value to", "Secrets", struct_of("BuilderSealingKey", key=str, algorithm=str)
    ),
    "/v1/services/{id}/diff": Operation(
        "what an apply would change in the cluster", "Services", _ANY, "environment", "environment"
    ),
    "/v1/secrets/key": Operation(
        "the key to seal a value to", "Secrets", struct_of("SealingKey", key=str, algorithm=str)
    ),
    "/v1/releases/{id}": Operation("one release", "Releases", answers.ReleaseShown),
    "/v1/releases/{id}/deployments": Operation(
        "where and when it was deployed", "Deployments", many("ReleaseDeployments", answers.Deployed, "deployments")
    ),
    "/v1/deployments": Operation(
        "deployments, newest first", "Deployments", listed("Deployments", answers.Deployed, "deployments"),
        f"{_PLACE} release status {_PAGED}",
    ),
    "/v1/deployments/{id}": Operation("one deployment", "Deployments", answers.Deployed),
    "/v1/builds": Operation(
        "builds, newest first", "Builds", listed("Builds", answers.Build, "builds"), f"project service {_PAGED}"
    ),
    "/v1/builds/{id}": Operation("the build of a run or release", "Builds", answers.Build, "service"),
    "/v1/runs": Operation("runs, newest first", "Runs", listed("Runs", answers.RunShown, "runs"), f"project {_PAGED}"),
    "/v1/runs/{id}": Operation("one run with its jobs and deployments", "Runs", answers.RunWhole),
    "/v1/runs/{id}/events": Operation("the run whenever it changed, until it ended", "Runs"),
    "/v1/runs/{id}/logs": Operation("the lines of a build, one event each", "Logs", None, "service follow"),
    "/v1/decisions": Operation(
        "how things ended and why, newest first", "Decisions",
        listed("Decisions", answers.DecisionShown, "decisions"),
        f"{_PLACE} release about outcome reason actor {_PAGED}",
    ),
    "/v1/deliveries": Operation(
        "what became of each delivery and push, newest first", "Decisions",
        listed("Deliveries", answers.DecisionShown, "deliveries"),
        f"{_PLACE} release outcome reason actor {_PAGED}",
    ),
    "/v1/why/{id:path}": Operation("all that is known of a commit, run, release or command", "Decisions", answers.Why),
    "/v1/trace/{id:path}": Operation("where the time of a push or a command went", "Decisions", answers.Trace),
    "/v1/commands/{id}": Operation("how a command ended", "Commands", answers.CommandShown, "wait"),
    "/v1/holds": Operation("what is held", "Holds", _some("Holds", "holds"), _PLACE),
    "/v1/promotions": Operation(
        "what is on its way between environments", "Promotions", _some("Promotions", "promotions"),
        f"project environment all {_PAGED}",
    ),
    "/v1/position": Operation("how far what can be read is; waits for more", "Services", _ANY, "after wait"),
    "/v1/previews": Operation(
        "open previews, newest first", "Previews", _some("Previews", "previews"), "project all"
    ),
    "/v1/status": Operation("everything on one screen", "Services", _ANY, f"{_PLACE} after wait"),
    "/v1/ps": Operation("replicas", "Services", _ANY, _PLACE),
    "/v1/domains": Operation("names and where they answer", "Services", _some("Domains", "domains")),
    "/v1/events": Operation("what happens, from every stage", "Events", None, f"{_PLACE} type tail follow"),
    "/v1/queue": Operation(
        "what waits for each stage", "Queue and workers", many("Queues", answers.Queue, "queue")
    ),
    "/v1/workers": Operation(
        "builders and what they build with", "Queue and workers", many("Workers", answers.WorkerShown, "workers")
    ),
    "/v1/parked": Operation(
        "events that wait for a person", "Queue and workers", many("ParkedEvents", answers.ParkedShown, "parked")
    ),
    "/v1/retention": Operation("what the registry would keep and shed", "Registry", answers.RetentionPlan),
    "/v1/retention/storing": Operation(
        "jobs on their way into the registry", "Registry", struct_of("Storing", jobs=int)
    ),
    "/v1/webhooks/{repository:path}": Operation("what to paste into the forge", "Projects", _ANY),
    "/v1/doctor": Operation(
        "the checks of this installation", "API", many("Findings", answers.Finding, "checks")
    ),
    "/v1/verify": Operation("what the gate would say", "Releases", _ANY, "release image project"),
    "/v1/whoami": Operation("who one is and what one may", "Identity", answers.Whoami),
    "/v1/audit": Operation(
        "who did what, newest first", "Identity", listed("AuditPage", Entry, "audit"),
        f"who way what result {_PLACE} {_PAGED}",
    ),
    "/v1/tokens": Operation("tokens: one's own, and those that one rules", "Identity",
                            many("Tokens", answers.TokenShown, "tokens")),
    "/v1/exec/{session}/output": Operation("what the command prints", "Commands"),
}  # fmt: skip


def _field(field: msgspec.structs.FieldInfo) -> tuple[str, Any] | tuple[str, Any, Any]:
    if field.required:
        return field.name, field.type
    if field.default is not msgspec.NODEFAULT:
        return field.name, field.type, field.default
    return field.name, field.type, msgspec.field(default_factory=field.default_factory)


def _asked(kind: type[Event], summary: str) -> Operation:
    """A wish whose repository is found when the project has one alone."""
    return Operation(summary, "Previews", answers.Accepted, body=_wish(kind), status=202)


@functools.cache
def _wish(kind: type[Event]) -> type[msgspec.Struct]:
    """Its body: one type however many addresses take it, since the document names types."""
    found = [_field(field) for field in msgspec.structs.fields(kind) if field.name not in actions.own(kind)]
    fields = [(name, str, "") if name == "repository" else (name, *rest) for name, *rest in found]
    return msgspec.defstruct(kind.__name__, fields, kw_only=True, forbid_unknown_fields=True)


_BUILD_SECRET: Final = {"project": str, "service": str, "name": str}
_SECRET: Final = {"project": str, "environment": str, "service": str, "name": str}
_TERMINAL: Final[Any] = dict[str, Any] | None
WRITES: Final[dict[str, Operation]] = {
    "/v1/build-secrets": Operation(
        "keep a sealed value for builds",
        "Secrets",
        msgspec.defstruct("BuildSecretKept", _BUILD_SECRET.items()),
        body=msgspec.defstruct("SetBuildSecret", [*_BUILD_SECRET.items(), ("sealed", str)]),
    ),
    "/v1/build-secrets/unset": Operation(
        "forget a value of builds",
        "Secrets",
        msgspec.defstruct("BuildSecretForgotten", _BUILD_SECRET.items()),
        body=msgspec.defstruct("UnsetBuildSecret", _BUILD_SECRET.items()),
    ),
    "/v1/secrets": Operation(
        "keep a sealed value",
        "Secrets",
        answers.SecretAccepted,
        status=202,
        body=msgspec.defstruct("KeepSecret", [*_SECRET.items(), ("sealed", str), ("why", str, "")]),
    ),
    "/v1/secrets/unset": Operation(
        "name a secret no more",
        "Secrets",
        answers.Accepted,
        status=202,
        body=msgspec.defstruct("UnsetSecret", [*_SECRET.items(), ("why", str, "")]),
    ),
    "/v1/parked/{id}/{verb:str}": Operation(
        "retry or drop a parked event", "Queue and workers", struct_of("Settled", id=str, status=str), status=202
    ),
    "/v1/logins": Operation(
        "an address that logs a browser in once",
        "API",
        struct_of("Invitation", address=str, expires_in=int),
        body=msgspec.defstruct("Login", [("next", str, "/")]),
        status=201,
    ),
    "/v1/tokens": Operation(
        "make a token; its text is in this answer alone",
        "Identity",
        answers.TokenMade,
        body=msgspec.defstruct(
            "MakeToken",
            [
                ("name", str),
                ("role", Role),
                ("project", str, ""),
                ("environment", str, ""),
                ("expires_in", int, 7776000),
            ],
        ),
        status=201,
    ),
    "/v1/tokens/{id}/revoke": Operation("end a token now", "Identity", answers.TokenShown),
    "/v1/device": Operation(
        "begin the login of a command line (RFC 8628)",
        "Identity",
        answers.DeviceLogin,
        body=msgspec.defstruct("BeginLogin", [("client", str, "")]),
        status=201,
    ),
    "/v1/device/token": Operation(
        "its token, once a person said yes",
        "Identity",
        answers.DeviceToken,
        body=msgspec.defstruct("AskForToken", [("device_code", str)]),
    ),
    "/v1/services/{id}/exec": Operation(
        "run a command in a replica",
        "Commands",
        struct_of("Session", session=str),
        status=201,
        body=msgspec.defstruct(
            "Exec",
            [("environment", str), ("command", list[str]), ("replica", str, ""), ("terminal", _TERMINAL, None)],
        ),
    ),
    "/v1/exec/{session}/input": Operation(
        "type into it",
        "Commands",
        struct_of("Typed", number=int),
        body=msgspec.defstruct(
            "Piece", [("number", int), ("data", str, ""), ("ended", bool, False), ("terminal", _TERMINAL, None)]
        ),
    ),
    "/v1/previews": _asked(PreviewRequested, "begin, end, extend or restart a preview"),
    "/v1/previews/approvals": _asked(PreviewRequested, "let a fork's commit be previewed"),
    "/v1/exec/{session}/end": Operation("end it", "Commands", struct_of("Ended", session=str)),
}


def command(name: str, kind: type[Event]) -> Operation:
    """The operation of ``POST /v1/<name>``: its body is the event without what the API fills in."""
    fields = [_field(field) for field in msgspec.structs.fields(kind) if field.name not in actions.own(kind)]
    body = msgspec.defstruct(kind.__name__, fields, kw_only=True, forbid_unknown_fields=True)
    said = (kind.__doc__ or name).strip().split("\n")[0].rstrip(".")
    return Operation(said, "Commands", answers.Accepted, body=body, status=202)


def writes() -> dict[str, Operation]:
    """Every POST."""
    kinds: dict[str, type[Event]] = {**actions.COMMANDS, **actions.OTHERS}
    return {f"/v1/{name}": command(name, kind) for name, kind in kinds.items()} | WRITES
