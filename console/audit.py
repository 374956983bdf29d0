"""Who did what, by which way and in which role, and what became of it: entries that are only ever added.

They are a stream of their own from which the server lets nobody delete. What is asked of this console is written when
it is answered; what comes by a push, a comment or git is written when its decision is read. A table beside the
projection answers questions; it can be deleted and fills again.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import sqlite3
import threading
from collections.abc import Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from console import sight
from pipeline.bus import Bus, Message, Write
from pipeline.entries import AUDIT, NANO
from pipeline.errors import Conflict, EncliiError
from pipeline.names import token
from pipeline.records import Decision
from pipeline.store import now

log = logging.getLogger(__name__)
Way = Literal["push", "CLI", "page", "comment", "API", "git"]
RETRY: Final = 1.0
COLUMNS: Final = ("who", "way", "project", "environment", "service", "what", "result")
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS entries (
  seq INTEGER PRIMARY KEY, at TEXT NOT NULL, who TEXT, way TEXT, project TEXT, environment TEXT, service TEXT,
  what TEXT, result TEXT, json BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS by_who ON entries (who, seq);
CREATE INDEX IF NOT EXISTS by_project ON entries (project, seq);
"""
traceparent: ContextVar[str] = ContextVar("traceparent", default="")
"""The traceparent of the request at hand."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the audit. ``id`` is the command's, delivery's or request's; ``role`` is that of the moment."""

    id: str
    at: str
    who: str
    way: Way
    role: str = ""
    what: str
    project: str = ""
    environment: str = ""
    service: str = ""
    result: str
    reason: str = ""
    message: str = ""
    trace: str = ""
    decision_seq: int = 0  # of the decision that it tells; 0 when it tells a request


class Audit:
    """Writes entries, and reads them from its table."""

    def __init__(self, bus: Bus, file: Path, *, keep: float) -> None:
        self._bus = bus
        self._keep = keep
        self._lock = threading.Lock()
        file.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(file, check_same_thread=False)
        self._db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;" + _SCHEMA)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    async def write(self, entry: Entry) -> None:
        """Add what was asked; a store that is away is told in the log, for the act was answered."""
        try:
            await self._put(entry)
        except EncliiError as error:
            log.error("not in the audit: %s %s by %s: %s", entry.what, entry.id, entry.who, error)

    async def _put(self, entry: Entry) -> None:
        """Add an entry; the same one again is the same. Raises Unavailable."""
        subject = f"audit.{'told' if entry.decision_seq else 'asked'}.{token(entry.id, str(entry.decision_seq))}"
        with contextlib.suppress(Conflict):
            await self._bus.commit(Write(subject, msgspec.json.encode(entry), 0))

    async def follow(self) -> None:
        """Keep the stream, the table and the decisions' entries up to date, for ever."""
        while True:
            try:
                if not self._bus.restricted:  # else it is made with the others
                    await self._bus.create("AUDIT", {**AUDIT, "max_age": int(self._keep * NANO)})
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._fill())
                    group.create_task(self._tell())
            except* EncliiError as errors:
                log.warning("the audit waits for the event store: %s", errors.exceptions[0])
            await asyncio.sleep(RETRY)

    async def _fill(self) -> None:
        with self._lock:
            after = int(self._db.execute("SELECT coalesce(max(seq), 0) FROM entries").fetchone()[0])
        state = (await self._bus.asked("STREAM.INFO.AUDIT", {}))["state"]
        if after > state["last_seq"]:  # another store than before
            self._forget(1 << 62)
            after = 0
        self._forget(int(state["first_seq"]))
        async with self._bus.watch("audit.>", after=after) as messages:
            async for message in messages:
                self.add([message])

    def add(self, messages: Sequence[Message]) -> None:
        """Put entries into the table."""
        rows = []
        for message in messages:
            with contextlib.suppress(msgspec.MsgspecError):
                entry = msgspec.json.decode(message.data, type=Entry)
                values = [getattr(entry, name) for name in COLUMNS]
                rows.append((message.seq, entry.at, *values, message.data))
        with self._lock, self._db:
            self._db.executemany("INSERT OR IGNORE INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def _forget(self, before: int) -> None:
        with self._lock, self._db:
            self._db.execute("DELETE FROM entries WHERE seq < ?", [before])

    async def _tell(self) -> None:
        newest = await self._bus.get("audit.told.>")
        after = msgspec.json.decode(newest.data, type=Entry).decision_seq if newest else 0
        async with self._bus.watch("st.decision.>", after=after) as messages:
            async for message in messages:
                with contextlib.suppress(msgspec.MsgspecError):
                    await self._told(msgspec.json.decode(message.data, type=Decision), message.seq)

    async def _told(self, found: Decision, seq: int) -> None:
        if found.about not in ("delivery", "command", "commit"):
            return
        entry = await self._bus.get(f"audit.asked.{token(found.id.partition('/')[0], '0')}")
        asked = msgspec.json.decode(entry.data, type=Entry) if entry else None
        way: Way = asked.way if asked else _way(found)
        await self._put(
            Entry(
                id=found.id, at=found.at or now(), who=found.actor or (asked.who if asked else ""), way=way,
                role=asked.role if asked else "", what=asked.what if asked else found.about, project=found.project,
                environment=found.environment, service=found.service, result=found.outcome, reason=found.reason,
                message=found.message, trace=asked.trace if asked else "", decision_seq=seq,
            )
        )  # fmt: skip

    def page(self, *, limit: int, before: int = 0, own: str = "", **equal: str) -> tuple[list[dict[str, Any]], int]:
        """The newest entries before a sequence, and where the following page begins, 0 for nowhere.

        What concerns no project is shown to who sees all, and to whoever did it (``own``).
        """
        wanted = {name: value for name, value in equal.items() if value and name in COLUMNS}
        where = ["1 = 1", *(f"{name} = ?" for name in wanted)] + (["seq < ?"] if before else [])
        values: list[Any] = [*wanted.values(), *([before] if before else [])]
        with self._lock:
            query = f"SELECT seq, json FROM entries WHERE {' AND '.join(where)} ORDER BY seq DESC LIMIT ?"  # noqa: S608
            rows = self._db.execute(query, [*values, 4 * limit + 1]).fetchall()
        found: list[dict[str, Any]] = []
        last = 0
        for seq, data in rows[: 4 * limit]:
            entry = msgspec.json.decode(data, type=Entry)
            last = seq
            if sight.sees(entry.project, entry.environment) or (not entry.project and own and entry.who == own):
                found.append(msgspec.structs.asdict(entry))
            if len(found) == limit:
                break
        return found, last if last and (len(rows) > 4 * limit or last != rows[-1][0]) else 0


def age_of(entry: dict[str, Any]) -> datetime.datetime:
    """When it was."""
    return datetime.datetime.fromisoformat(entry["at"])


def _way(found: Decision) -> Way:
    """How a decision came about that no request of this console asked for."""
    if found.about == "commit":
        return "git"
    return "push" if found.ref.startswith("refs/heads/") or found.sha else "comment"
