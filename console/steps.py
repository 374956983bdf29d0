"""Where the time of a push or a command went: its steps, out of what is stored.

A push is a run: its jobs' stages, then a rollout. A command is an event that the API wrote, the config commit that the
committer made of it, and a rollout, where that commit deployed anything. When an event and a decision were stored is
the event store's own time; git keeps whole seconds only.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from console.projection import Projection
from console.queries import SHORTEST_SHA, plain
from console.texts import moment, version
from console.why import why
from pipeline.bus import Bus
from pipeline.entries import Entry
from pipeline.errors import EncliiError
from pipeline.event import Event
from pipeline.names import token
from pipeline.records import Decision, Deployment
from pipeline.trace import trace_id

MOST: Final = 50
"""Commands of one answer whose events are looked up."""
Value = dict[str, Any]


@dataclass(frozen=True)
class Command:
    """A decision on a command, for one service or for all, and when its event and itself were stored."""

    decision: Value
    asked_at: str = ""
    stored_at: str = ""
    decided_at: str = ""
    what: str = ""
    trace: str = ""

    @property
    def id(self) -> str:
        """The command's id, whichever of its services this is about."""
        return str(self.decision["id"]).partition("/")[0]


async def trace(db: Projection, bus: Bus, wanted: str) -> Value:
    """The steps of what ``wanted`` names, and the ids of its traces. Raises NotFound."""
    answer = await asyncio.to_thread(why, db, wanted)
    decided = [one for one in answer["decisions"] if one["about"] == "command"]
    named = [one for one in decided if _is_named(one, wanted, answer["promotions"])]
    runs = [one for one in answer["runs"] if not named or one["delivery"] == wanted]
    commands = await asyncio.gather(*(_command(bus, one) for one in (named or decided)[:MOST]))
    made = {one.decision["config_commit"] for one in commands} - {""}
    steps = [step for run in runs for step in of_run(run, answer, without=made)]
    steps += [step for one in commands for step in of_command(one, _deployed(db, one))]
    traces = {trace_id(one) for one in (*(run["trace"] for run in runs), *(command.trace for command in commands))}
    return {"query": wanted, "traces": sorted(traces - {""}), "steps": steps}


def _is_named(decision: Value, wanted: str, promotions: list[Value]) -> bool:
    """Whether it is itself asked for: by its command's, promotion's or config commit's id."""
    command = decision["id"].partition("/")[0]
    promoted = any(wanted == one["id"] and command == one["command"] for one in promotions)
    committed = len(wanted) >= SHORTEST_SHA and decision["config_commit"].startswith(wanted)
    return wanted in (decision["id"], command) or promoted or committed


def of_run(run: Value, answer: Value, *, without: set[str]) -> Iterator[Value]:
    """A run's steps, each at so many seconds after the run began; not the rollouts of the commits ``without``."""
    begun = run["created_at"]
    for job in answer["jobs"]:
        if job["run"] == run["id"]:
            for stage in job["stages"]:
                yield _step(
                    begun, job["service"], stage["name"], stage["started_at"], stage["finished_at"], run=run["id"]
                )
    for one in answer["deployments"]:
        if one["run"] == run["id"] and one["config_commit"] not in without:
            yield _rollout(begun, one, one["created_at"], run=run["id"])


def of_command(command: Command, deployed: list[Value]) -> Iterator[Value]:
    """What the API, the committer and the cluster did for a command, each at so many seconds after it was asked for."""
    said = command.decision
    begun = command.asked_at or said["at"]
    if command.asked_at:
        yield _step(begun, said["service"], f"{command.what} asked", begun, command.stored_at, command=command.id)
    commit = said["config_commit"]
    name = f"commit {commit[:12]}" if commit else str(said["outcome"])
    yield _step(
        begun, said["service"], name, command.stored_at or said["at"], command.decided_at or said["at"],
        command=command.id,
    )  # fmt: skip
    for one in deployed:
        yield _rollout(begun, one, command.decided_at or one["created_at"], command=command.id)


def _rollout(begun: str, one: Value, started: str, **of: str) -> Value:
    name = f"rollout {one['environment']} {version(one['release'])}"
    return _step(begun, one["service"], name, started, one["running_at"], **of)


def _step(begun: str, service: str, name: str, started: str, ended: str, *, run: str = "", command: str = "") -> Value:
    return {
        "run": run, "command": command, "service": service, "step": name, "started_at": started, "ended_at": ended,
        "after_seconds": _between(begun, started), "seconds": _between(started, ended),
    }  # fmt: skip


def _between(earlier: str, later: str) -> float | None:
    """Never negative: what git says of a commit's time has no fractions of a second."""
    first, second = moment(earlier), moment(later)
    return max(0.0, round((second - first).total_seconds(), 3)) if first and second else None


def _deployed(db: Projection, command: Command) -> list[Value]:
    """What the command's commit deployed, of its service where it is about one."""
    commit, service = command.decision["config_commit"], command.decision["service"]
    found = db.starting(Deployment, "commit", commit, limit=MOST) if commit else []
    return [plain(one) for one in found if service in ("", one.service)]


async def _command(bus: Bus, decision: Value) -> Command:
    """With what the event store still has of it; nothing more while the store does not answer."""
    known = Command(decision)
    with contextlib.suppress(EncliiError):
        event = await bus.get(f"ev.*.*.{token(known.id)}")
        kept = await bus.get(msgspec.convert(decision, Decision).subject)
        return _timed(decision, event, kept)
    return known


def _timed(decision: Value, event: Entry | None, kept: Entry | None) -> Command:
    decided_at = kept.at if kept else ""
    if event is None:
        return Command(decision, decided_at=decided_at)
    told = msgspec.json.decode(event.data, type=Event)
    what = event.subject.split(".")[1]
    return Command(decision, told.at or event.at, event.at, decided_at, what, told.trace)
