"""Waiting for what was asked: a command's decision, and a service that has become what the command wanted."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any, Final

from console.advice import BY_REASON
from console.client import FAILED, REFUSED, STILL_OLD, TIMED_OUT, Failure, path
from console.commands.options import tell
from console.session import Scope, Session
from console.texts import printable

ONE_WAIT: Final = 20
PAUSES: Final = (0.1, 1.0, 3.0)
"""Seconds before a command that nobody answered is said again: a disk that is busy holds the event store up."""
ENDED: Final = {"refused": REFUSED, "failed": FAILED}


def ask(session: Session, address: str, body: dict[str, Any]) -> str:
    """Publish a command and return its id; a request that got no answer is made again under the same key."""
    key = f"c-{uuid.uuid4()}"
    for pause in PAUSES:
        try:
            return str(session.api.post(address, body, key=key)["command"])
        except Failure as failure:
            if failure.exit_code == REFUSED and not failure.live:
                failure.live = _live(session, body)
            if failure.reason not in {"api_away", "bad_answer", "nats_away"}:
                raise
        time.sleep(pause)  # what did not answer tells nobody when it does again
    return str(session.api.post(address, body, key=key)["command"])


def decided(session: Session, command: str, limit: float, *, named: bool = True) -> list[dict[str, Any]]:
    """The command's decisions, one per service. Raises Failure when one is a refusal, or none is there in time.

    Its id is told, unless ``named`` says that it is elsewhere or worth nothing.
    """
    session.goes_on = f"command {command} goes on: enclii why {command}"
    deadline = time.monotonic() + limit
    while (left := deadline - time.monotonic()) > 0:
        answer = session.api.get(path("commands", command), {"wait": min(ONE_WAIT, max(1, int(left)))})
        if answer["status"] != "pending":
            found = [_accepted(session, decision, command) for decision in answer["decisions"]]
            if named:
                tell(f"Trace: enclii trace {command}")
            return found
    raise Failure(
        f"not decided within {limit:g} s; the command still stands",
        reason="timeout",
        exit_code=TIMED_OUT,
        advice=f"enclii why {command}",
    )


def _accepted(session: Session, decision: dict[str, Any], command: str) -> dict[str, Any]:
    code = ENDED.get(decision["outcome"])
    if code is not None:
        raise Failure(
            decision["message"] or decision["outcome"],
            reason=decision["reason"],
            exit_code=code,
            live=_live(session, decision),
            advice="; ".join(filter(None, (BY_REASON.get(decision["reason"]), f"enclii why {command}"))),
        )
    return decision


def _live(session: Session, decision: dict[str, Any]) -> str:
    """What runs now where something was refused; "" when that cannot be said."""
    place = {name: decision.get(name) or "" for name in ("project", "environment", "service")}
    if not all(place.values()):
        return ""
    try:
        state: dict[str, Any] = next(iter(session.api.get("/v1/status", place)["services"]), {})
    except Failure:
        return ""
    live = state.get("live")
    return f"{live['version'] or live['image']} {live['status']}, {live['health']}" if live else "nothing"


def until(
    session: Session, scope: Scope, reached: Callable[[dict[str, Any]], bool], *, before: str, limit: float,
    image: str = "",
) -> dict[str, Any]:  # fmt: skip
    """The service's state once ``reached``, told on the way. Raises Failure: it failed, was moved, or took too long.

    ``before`` is the deployment that was wanted so far: what it says is not yet about what was asked for. ``image`` is
    what is wanted now; another one means that somebody moved the service meanwhile.
    """
    session.goes_on = f"what was asked for goes on: enclii status {scope.flags()}"
    deadline = time.monotonic() + limit
    answer = session.api.get("/v1/status", scope.query())
    told = ""
    while True:
        state: dict[str, Any] = next(iter(answer["services"]), {})
        if state and reached(state):
            return state
        wanted = state.get("desired") or {}
        if state.get("status") == "failed" and wanted.get("deployment") != before:
            raise _failed(state)
        if image and wanted.get("deployment") not in (None, "", before) and wanted["image"] != image:
            raise _moved(wanted, scope)
        if (said := _standing(state, before)) != told:
            told = said
            tell(told)
        left = deadline - time.monotonic()
        if left <= 0:
            raise Failure(
                f"not live within {limit:g} s: {told or 'nothing was seen of it'}; it goes on",
                reason="timeout",
                exit_code=TIMED_OUT,
                advice=f"enclii status {scope.flags()}",
            )
        query = scope.query() | {"after": str(answer["seq"]), "wait": str(min(ONE_WAIT, max(1, int(left))))}
        answer = session.api.get("/v1/status", query)


def _standing(state: dict[str, Any], before: str) -> str:
    """How far it is, and what stands in the way."""
    wanted, live = state.get("desired") or {}, state.get("live") or {}
    if not wanted.get("deployment") or wanted["deployment"] == before:
        return ""
    reason = state["message"] or state["reason"]
    ready = f"{live['replicas']} ready" if live.get("deployment") == wanted["deployment"] else ""
    parts = [f"{state['service']} {wanted['version']} {state['status']}", ready, printable(reason)]
    return ", ".join(part for part in parts if part)


def _moved(wanted: dict[str, Any], scope: Scope) -> Failure:
    return Failure(
        f"somebody moved it meanwhile: {wanted['version'] or 'another image'} is wanted now",
        reason="moved_meanwhile",
        exit_code=REFUSED,
        advice=f"enclii status {scope.flags()}",
    )


def _failed(state: dict[str, Any]) -> Failure:
    live = state["live"]
    still = f"; {live['version']} is still live" if live else ""
    return Failure(
        f"the deployment failed: {state['message'] or state['reason']}{still}",
        reason=state["reason"] or "deployment_failed",
        exit_code=STILL_OLD if live else FAILED,
        advice=f"enclii logs -p {state['project']} -e {state['environment']} -s {state['service']}",
    )


def is_live(image: str) -> Callable[[dict[str, Any]], bool]:
    """Whether that image is wanted, runs and is healthy."""

    def reached(state: dict[str, Any]) -> bool:
        live, desired = state["live"], state["desired"]
        same = bool(live and desired and live["image"] == image == desired["image"])
        return same and live["deployment"] == desired["deployment"] and _well(live)

    return reached


def is_settled(state: dict[str, Any]) -> bool:
    """Whether what is wanted runs and is healthy."""
    live, desired = state["live"], state["desired"]
    return bool(live and desired and live["deployment"] == desired["deployment"]) and _well(live)


def is_settled_without(image: str) -> Callable[[dict[str, Any]], bool]:
    """Whether what is wanted is another image, and runs; or nothing is wanted and nothing runs."""

    def reached(state: dict[str, Any]) -> bool:
        if state["status"] == "removed":
            return not state["live"]
        return state["desired"]["image"] != image and is_settled(state)

    return reached


def _well(live: dict[str, Any]) -> bool:
    return bool(live["status"] == "running" and live["health"] == "healthy")
