"""What the console reads: every record of the event store in one SQLite table, found by project, service or run.

It owns nothing: the file may be deleted at any time and fills again by itself, so it trades durability for speed.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from console import sight
from pipeline.bus import Bus, Message
from pipeline.errors import EncliiError
from pipeline.records import KINDS, Decision, Job, Record

log = logging.getLogger(__name__)

R = TypeVar("R", bound=Record)
S = TypeVar("S", bound=msgspec.Struct)

SHAPE: Final = 5
BATCH: Final = 5_000
FLUSH_AFTER: Final = 0.02
BEHIND_FLUSH_AFTER: Final = 1.0
"""Seconds for which a batch may grow while so much waits that nobody gains from a few records more."""
CACHE_KIB: Final = 24 << 10
CHECKPOINT_PAGES: Final = 8_000
"""While the table fills, its indices' pages change again and again: they are written to the file once in 32 MB."""
SHA_LENGTH: Final = 40
RECONNECT_DELAY: Final = 1.0
NARROW: Final = frozenset({"run", "release", "sha", "commit"})
"""Columns of which one value names a few records, each with an index of its own."""
COLUMNS: Final = ("project", "environment", "service", "run", "release", "sha", "commit", "created_at")
BUSY: Final = ("queued", "building", "signing", "committing")
"""Of jobs: what is not over. There are few at any time, among very many that are, and they have an index."""
_BUSY: Final = f"kind = 'job' AND coalesce(json_extract(CAST(json AS TEXT), '$.status'), 'queued') IN {BUSY}"
_SCHEMA: Final = """
CREATE TABLE records (
  subject TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, project TEXT, environment TEXT, service TEXT, run TEXT,
  release TEXT, sha TEXT, "commit" TEXT, created_at TEXT, seq INTEGER NOT NULL, json BLOB NOT NULL
);
CREATE INDEX by_service ON records (kind, project, service, created_at, subject);
CREATE INDEX by_place ON records (kind, project, environment, service);
CREATE INDEX by_time ON records (kind, created_at, subject);
CREATE INDEX by_run ON records (run) WHERE run <> '';
CREATE INDEX by_release ON records (release) WHERE release <> '';
CREATE INDEX by_sha ON records (sha) WHERE sha <> '';
CREATE INDEX by_commit ON records ("commit") WHERE "commit" <> '';
CREATE INDEX busy_jobs ON records (created_at) WHERE {busy};
CREATE TABLE position (seq INTEGER NOT NULL);
INSERT INTO position VALUES (0);
""".replace("{busy}", _BUSY)
_PUT: Final = """
INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (subject) DO UPDATE SET project = excluded.project, environment = excluded.environment,
  service = excluded.service, run = excluded.run, release = excluded.release, sha = excluded.sha,
  "commit" = excluded."commit", created_at = excluded.created_at, seq = excluded.seq, json = excluded.json
  WHERE excluded.seq > records.seq
"""


class Projection:
    """The table and its position in the stream. ``follow`` fills it; the finders are safe to call from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._moved = asyncio.Event()
        self._db = self._open()

    @property
    def moved(self) -> asyncio.Event:
        """Set once when something is applied after this property was read; take it before reading, then wait."""
        return self._moved

    def position(self) -> int:
        """The sequence up to which everything is in the table."""
        with self._lock:
            return int(self._db.execute("SELECT seq FROM position").fetchone()[0])

    def close(self) -> None:
        """Close the file; finders fail from now on."""
        with self._lock:
            self._db.close()

    def clear(self) -> None:
        """Forget everything; ``follow`` fills it again when it starts."""
        with self._lock, self._db:
            self._db.execute("DELETE FROM records")
            self._db.execute("UPDATE position SET seq = 0")

    async def follow(self, bus: Bus) -> None:
        """Apply what the store holds and then what comes, for ever; a lost connection is taken up again."""
        while True:
            try:
                await self._same_store(bus)
                async with bus.watch("st.>", after=self.position()) as messages:
                    await self._apply_all(messages)
            except EncliiError as error:
                log.warning("the projection waits for the event store: %s", error)
            await asyncio.sleep(RECONNECT_DELAY)

    async def _apply_all(self, messages: AsyncIterator[Message]) -> None:
        """In batches as they come; a batch that is not full waits a moment for more.

        How many are pending says nothing reliable: a record that is superseded before it was delivered still counts
        in the message before it, and never comes.
        """
        waiting: list[Message] = []
        timer: asyncio.TimerHandle | None = None
        loop = asyncio.get_running_loop()

        def flush() -> None:
            nonlocal timer
            if timer is not None:
                timer.cancel()
            timer = None
            if waiting:
                self.apply(waiting)
                waiting.clear()

        try:
            async for message in messages:
                waiting.append(message)
                if message.pending == 0 or len(waiting) >= BATCH:
                    flush()
                elif timer is None:
                    timer = loop.call_later(BEHIND_FLUSH_AFTER if message.pending > BATCH else FLUSH_AFTER, flush)
        finally:
            if timer is not None:
                timer.cancel()

    async def _same_store(self, bus: Bus) -> None:
        """Start anew when the store is not the one that was read: the newest message read is older there, or gone."""
        with self._lock:
            newest = self._db.execute("SELECT subject, seq, json FROM records ORDER BY seq DESC LIMIT 1").fetchone()
        if newest is None:
            self.clear()
            return
        entry = await bus.get(newest[0])
        if entry is None or entry.seq < newest[1] or (entry.seq == newest[1] and entry.data != newest[2]):
            log.warning("the event store is another one than before: reading it from its beginning")
            self.clear()

    def apply(self, messages: Sequence[Message]) -> None:
        """Put messages and the position behind them into the table, in one transaction."""
        rows = [row for message in messages if (row := _row(message.subject, message.data, message.seq))]
        with self._lock, self._db:
            self._db.executemany(_PUT, sorted(rows))  # neighbours in the index one after the other
            self._db.execute("UPDATE position SET seq = max(seq, ?)", (messages[-1].seq,))
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def get(self, kind: type[R], *key: str) -> R | None:
        """The record of that kind and key."""
        found = self._select("subject = ?", [kind.subject_of(*key)], "")
        return _decode(kind, found[0]) if found else None

    def find(self, kind: type[R], *, limit: int = 0, newest_first: bool = False, **equal: str) -> list[R]:
        """The records of a kind whose columns equal the given non-empty values, by time of creation."""
        wanted = {column: value for column, value in equal.items() if value}
        if unknown := wanted.keys() - set(COLUMNS):
            raise ValueError(f"no such column: {', '.join(sorted(unknown))}")
        where = " AND ".join(conditions(wanted))
        direction = "DESC" if newest_first else "ASC"
        order = f"ORDER BY created_at {direction}, seq {direction}" + (" LIMIT ?" if limit else "")
        values: list[str | int] = [kind.kind, *wanted.values(), *([limit] if limit else [])]
        return [_decode(kind, row) for row in self._select(where, values, order)]

    def page(
        self, kind: type[R], *, limit: int, after: tuple[str, ...] | None, such: Mapping[str, str] = {}, **equal: str
    ) -> tuple[list[R], tuple[str, str] | None]:
        """The newest records behind the place ``after``, and the place where the following page begins, if any.

        A place is a time of creation and a subject, so that what is written between two pages moves nothing. ``such``
        are values of fields that are no columns.
        """
        wanted = {column: value for column, value in equal.items() if value}
        if unknown := wanted.keys() - set(COLUMNS):
            raise ValueError(f"no such column: {', '.join(sorted(unknown))}")
        where = conditions(wanted)
        values: list[str | int] = [kind.kind, *wanted.values()]
        for field, value in such.items():
            where.append("json_extract(CAST(json AS TEXT), ?) = ?")
            values += (f"$.{field}", value)
        if after:
            where.append("(created_at, subject) < (?, ?)")
            values += after
        seen, hidden = sight.condition()
        order = f"{seen} ORDER BY created_at DESC, subject DESC LIMIT ?"
        query = f"SELECT created_at, subject, json FROM records WHERE {' AND '.join(where)}{order}"  # noqa: S608
        with self._lock:
            rows = self._db.execute(query, [*values, *hidden, limit + 1]).fetchall()
        shown = rows[:limit]
        return [_decode(kind, row[2]) for row in shown], (shown[-1][:2] if len(rows) > limit else None)

    def at(self, kind: type[Record], shape: type[S], places: Sequence[tuple[str, str, str]]) -> list[S]:
        """The records at these (project, environment, service), each read as ``shape``, by one query.

        A few hundred places at most; where there is no such record, none comes.
        """
        seen, hidden = sight.condition()
        query = f"""WITH wanted (a, b, c) AS (VALUES {", ".join(["(?, ?, ?)"] * len(places))})
          SELECT json FROM wanted CROSS JOIN records INDEXED BY by_place
          ON kind = ? AND project = a AND environment = b AND service = c WHERE true{seen}"""  # noqa: S608
        with self._lock:
            values = [*(part for place in places for part in place), kind.kind, *hidden]
            rows = self._db.execute(query, values).fetchall() if places else []
        return [msgspec.json.decode(row[0], type=shape) for row in rows]

    def rows(self, kind: type[Record], shape: type[S], *, project: str, environment: str, after: str) -> list[S]:
        """The records of one environment behind a service's name, by name, read as ``shape``: some of their fields."""
        where = "kind = ? AND project = ? AND environment = ? AND service > ?"
        return [
            msgspec.json.decode(row, type=shape)
            for row in self._select(where, [kind.kind, project, environment, after], "ORDER BY service")
        ]

    def since(self, kind: type[Record], shape: type[S], begin: str, *, limit: int, project: str = "") -> list[S]:
        """The newest records that were created at ``begin`` or later, the newest first, read as ``shape``."""
        where = "kind = ? AND created_at >= ?" + (" AND project = ?" if project else "")
        values: list[str | int] = [kind.kind, begin, *([project] if project else []), limit]
        rows = self._select(where, values, "ORDER BY created_at DESC LIMIT ?")
        return [msgspec.json.decode(row, type=shape) for row in rows]

    def busy_jobs(self, limit: int) -> tuple[list[Job], int]:
        """Jobs that are not over, oldest first, and how many there are."""
        seen, hidden = sight.condition()
        query = f"FROM records INDEXED BY busy_jobs WHERE {_BUSY}{seen}"
        with self._lock:
            rows = self._db.execute(f"SELECT json {query} ORDER BY created_at LIMIT ?", [*hidden, limit]).fetchall()
            count = self._db.execute(f"SELECT count(*) {query}", hidden).fetchone()[0]
        return [_decode(Job, row[0]) for row in rows], count

    def places(self, kind: type[Record]) -> list[tuple[str, str, str]]:
        """Project, environment and service of every record of a kind, out of the index alone."""
        seen, values = sight.condition()
        wanted = f"SELECT project, environment, service FROM records INDEXED BY by_place WHERE kind = ?{seen}"  # noqa: S608
        with self._lock:
            return self._db.execute(wanted, [kind.kind, *values]).fetchall()

    def all_places(self, wanted: str, *, offset: int, limit: int) -> tuple[list[tuple[str, str, str]], int]:
        """Some of the places that git or the cluster knows, in order, and about how many there are.

        Two scans of one index that are merged: the first page costs the same however many there are.
        """
        seen, hidden = sight.condition()
        fits, marks = _holds(wanted)
        part = f"FROM records INDEXED BY by_place WHERE kind = ?{seen}{fits}"
        place = f"SELECT project, environment, service {part}"
        values = [[kind, *hidden, *marks] for kind in ("target", "live")]
        query = f"{place} UNION {place} ORDER BY project, environment, service LIMIT ? OFFSET ?"
        with self._lock:
            rows = self._db.execute(query, [*values[0], *values[1], limit, offset]).fetchall()
            counts = [self._db.execute(f"SELECT count(*) {part}", some).fetchone()[0] for some in values]
        return rows, max(counts)

    def services(self, project: str, *, after: str = "", limit: int = -1) -> list[str]:
        """Names of the project's services behind ``after``, sorted: those with a release, a place or a replica."""
        seen, hidden = sight.condition()
        part = (
            "SELECT DISTINCT service FROM records INDEXED BY by_service WHERE kind = ? AND project = ? AND service > ?"
        )
        known = f"SELECT * FROM ({part}{seen} ORDER BY service LIMIT ?)"  # noqa: S608 - texts of this function alone
        query = f"{known} UNION {known} ORDER BY service LIMIT ?"
        values = [value for kind in ("service", "target") for value in (kind, project, after, *hidden, limit)]
        with self._lock:
            names = [row[0] for row in self._db.execute(query, [*values, limit])]
        last = names[-1] if len(names) == limit else "\uffff"
        strays = self._strays(project, after, last)
        return sorted({*names, *strays})[: None if limit < 0 else limit] if strays else names

    def _strays(self, project: str, after: str, last: str) -> list[str]:
        """Services between two names that only run: git never had them, or has forgotten them."""
        seen, hidden = sight.condition()
        query = f"""SELECT DISTINCT service FROM records INDEXED BY by_service
          WHERE kind = 'live' AND project = ? AND service > ? AND service <= ?{seen} AND NOT EXISTS (
            SELECT 1 FROM records known INDEXED BY by_service WHERE known.kind IN ('service', 'target')
            AND known.project = ? AND known.service = records.service)
          AND json_array_length(CAST(json AS TEXT), '$.replicas') > 0"""  # noqa: S608 - texts of this function alone
        with self._lock:
            return [row[0] for row in self._db.execute(query, [project, after, last, *hidden, project])]

    def starting(self, kind: type[R], column: str, prefix: str, *, limit: int = 20) -> list[R]:
        """The newest records of a kind of which a column begins so (for abbreviated commit ids)."""
        if column not in COLUMNS:
            raise ValueError(f"no such column: {column}")
        where = f'+kind = ? AND "{column}" >= ? AND "{column}" < ? AND "{column}" <> \'\''
        values: list[str | int] = [kind.kind, prefix, prefix + "\uffff", limit]
        return [_decode(kind, row) for row in self._select(where, values, "ORDER BY created_at DESC LIMIT ?")]

    def _select(self, where: str, values: Sequence[str | int], order: str) -> list[bytes]:
        seen, hidden = sight.condition()
        last = [values[-1]] if "LIMIT" in order else []
        bound = [*values[: len(values) - len(last)], *hidden, *last]
        with self._lock:
            # Column names come from COLUMNS alone; every value is bound.
            rows = self._db.execute(f"SELECT json FROM records WHERE {where}{seen} {order}", bound)  # noqa: S608
            return [row[0] for row in rows]

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(sqlite3.DatabaseError):
            db = self._connect()
            if db.execute("PRAGMA user_version").fetchone()[0] == SHAPE:
                return db
            db.close()
        for left in _files(self._path):
            left.unlink(missing_ok=True)
        db = self._connect()
        db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {SHAPE}; COMMIT;")
        return db

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, check_same_thread=False)
        db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;")
        db.executescript(f"PRAGMA cache_size = -{CACHE_KIB}; PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES};")
        return db


def conditions(columns: Iterable[str]) -> list[str]:
    """The conditions on a kind and the columns, told so that the narrowest index is taken.

    An index that leaves out the empty is taken only where the query says the same; and as it knows no kinds, the plus
    keeps the others, which do, from being preferred.
    """
    found = set(columns)
    narrow = sorted(found & NARROW)
    return [
        f"{'+' if narrow else ''}kind = ?",
        *(f'"{one}" = ?' for one in columns),
        *(f"\"{one}\" <> ''" for one in narrow),
    ]


def _holds(wanted: str) -> tuple[str, list[str]]:
    """SQL that keeps the places with a text in ``project/environment/service``, with its values.

    Most of such texts name a part: joining the three for each of many places costs three times as much.
    """
    if not wanted:
        return "", []
    if "/" in wanted:
        return " AND instr(project || '/' || environment || '/' || service, ?)", [wanted]
    return " AND (instr(service, ?) OR instr(environment, ?) OR instr(project, ?))", [wanted] * 3


def _files(path: Path) -> Iterator[Path]:
    for ending in ("", "-wal", "-shm"):
        yield path.with_name(path.name + ending)


def _row(subject: str, data: bytes, seq: int) -> tuple[str | int | bytes, ...] | None:
    kind = KINDS.get(subject.split(".")[1])
    if kind is None:
        return None
    try:
        record = msgspec.json.decode(data, type=kind)
    except ValueError as error:
        log.error("left out a record that cannot be read, %s: %s", subject, error)
        return None
    values = [str(getattr(record, field)) if field else "" for field in _fields(kind)]
    if kind is Decision:
        values[COLUMNS.index("commit")] = _config_commit(record)
    return (subject, kind.kind, *values, seq, data)


@functools.cache
def _fields(kind: type[Record]) -> tuple[str, ...]:
    """For each column the field of a kind that fills it; "" where it has none."""
    named = dict(zip(COLUMNS, COLUMNS, strict=True)) | {"commit": "config_commit"}
    named |= {} if "created_at" in kind.__struct_fields__ else {"created_at": "at"}
    named |= {"run": {"run": "id"}, "release": {"release": "id"}, "project": {"project": "slug"}}.get(kind.kind, {})
    return tuple(field if field in kind.__struct_fields__ else "" for field in named.values())


def _config_commit(record: Record) -> str:
    """The config commit that a decision is about, whose id then names it, or that was made of it."""
    if isinstance(record, Decision) and record.config_commit:
        return record.config_commit
    if isinstance(record, Decision) and record.about == "commit":
        return next((part for part in record.id.split("/") if len(part) == SHA_LENGTH), "")
    return ""


def _decode(kind: type[R], data: bytes) -> R:
    return msgspec.json.decode(data, type=kind)
