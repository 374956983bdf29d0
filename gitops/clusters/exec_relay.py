"""Commands in running containers, for processes without the clusters' credentials: by request and reply over NATS.

Input comes in numbered pieces and output is fetched in numbered batches, so that a question whose answer was lost can
be asked again: nothing is typed or shown twice. A session that nobody fetches from is ended. Who ran which program
where is recorded as a decision; what was typed, its arguments and what was printed are not.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Final
from uuid import uuid4

import msgspec

from gitops.clusters import Cluster, Exited, Printed, Size, Typed
from gitops.clusters.questions import AboutService, Places
from pipeline.bus import Bus
from pipeline.errors import EncliiError, Invalid, NotFound, Permanent, Refused, Unavailable
from pipeline.records import Decision, Outcome, Project
from pipeline.store import Change, Step, Store, now

log = logging.getLogger(__name__)

OPEN: Final = "rq.exec.open"
TYPED: Final = "rq.exec.typed"
PRINTED: Final = "rq.exec.printed"
END: Final = "rq.exec.end"
ROLE: Final = "exec"
PIECE: Final = 32 << 10
BATCH: Final = 256 << 10
AHEAD: Final = 32
WAIT: Final = 1.0
TYPE_LIMIT: Final = 5.0
IDLE_LIMIT: Final = 20.0
LONGEST: Final = 8 * 3600.0
MOST_SESSIONS: Final = 50
MOST_WORDS: Final = 200
OPEN_LIMIT: Final = 20.0
ASK_LIMIT: Final = 10.0


class Ask(AboutService, frozen=True, kw_only=True):
    """A command that somebody wants to run. ``rows`` 0: without a terminal."""

    actor: str
    command: tuple[str, ...]
    replica: str = ""
    rows: int = 0
    columns: int = 0


class Piece(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was typed next, numbered from 1; ``ended``: nothing follows; ``rows``: the terminal's new size."""

    session: str
    actor: str
    number: int
    data: bytes = b""
    ended: bool = False
    rows: int = 0
    columns: int = 0


class Fetch(msgspec.Struct, frozen=True, kw_only=True):
    """Asks for the batch behind ``after``, which the asker has."""

    session: str
    actor: str
    after: int = 0


class Batch(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was printed, in order; ``code`` is there once the command has exited."""

    session: str = ""
    number: int = 0
    printed: tuple[Printed, ...] = ()
    code: int | None = None
    reason: str = ""
    message: str = ""
    kind: str = ""  # of the error that kept the question from being answered


class ExecRelay:
    """The answering side, in the process that has the credentials."""

    def __init__(self, store: Store, clusters: Places) -> None:
        self._store = store
        self._clusters = clusters
        self._sessions: dict[str, _Session] = {}

    async def run(self) -> None:
        """Answer for ever."""
        bus = self._store.bus
        try:
            async with asyncio.TaskGroup() as group:
                for subject, answer in ((OPEN, self._open), (TYPED, self._type), (PRINTED, self._print)):
                    group.create_task(bus.answer_many(subject, answer))
                group.create_task(bus.answer_many(END, self._end))
        finally:
            for session in list(self._sessions.values()):
                session.end()

    async def _open(self, question: bytes) -> bytes:
        try:
            asked = msgspec.msgpack.decode(question, type=Ask)
            if not asked.command or len(asked.command) > MOST_WORDS:
                raise Invalid(f"a command has 1 to {MOST_WORDS} words", reason="bad_command")
            if len(self._sessions) >= MOST_SESSIONS:
                raise Unavailable("too many commands run at the same time", reason="too_many_commands")
            name = f"x-{uuid4()}"
            await self._allowed(name, asked)
            cluster = await self._clusters.of(asked.ref)
            await self._record(name, asked, "runs")  # what can't be recorded is not run
        except (EncliiError, msgspec.MsgspecError) as error:
            return _failed(error)
        self._sessions[name] = _Session(
            cluster, asked, ended=lambda how: self._ended(name, asked, how), gone=lambda: self._sessions.pop(name, None)
        )
        return msgspec.msgpack.encode(Batch(session=name))

    async def _allowed(self, name: str, asked: Ask) -> None:
        """Where a project names a role ``exec``, its people alone may."""
        project = await self._store.get(Project, asked.project)
        people = project.record.roles.get(ROLE) if project else None
        if people is not None and asked.actor not in people:
            await self._record(name, asked, "was refused", outcome="refused")
            raise Refused(f"{asked.actor} is not in the role {ROLE!r} of {asked.project}", reason="not_in_role")

    async def _type(self, question: bytes) -> bytes:
        try:
            piece = msgspec.msgpack.decode(question, type=Piece)
            await self._session(piece.session, piece.actor).take(piece)
        except (EncliiError, msgspec.MsgspecError) as error:
            return _failed(error)
        return msgspec.msgpack.encode(Batch())

    async def _print(self, question: bytes) -> bytes:
        try:
            fetch = msgspec.msgpack.decode(question, type=Fetch)
            return msgspec.msgpack.encode(await self._session(fetch.session, fetch.actor).next(fetch.after))
        except (EncliiError, msgspec.MsgspecError) as error:
            return _failed(error)

    async def _end(self, question: bytes) -> bytes:
        try:
            fetch = msgspec.msgpack.decode(question, type=Fetch)
            self._session(fetch.session, fetch.actor).end()
        except (EncliiError, msgspec.MsgspecError) as error:
            return _failed(error)
        return msgspec.msgpack.encode(Batch())

    def _session(self, name: str, actor: str) -> _Session:
        found = self._sessions.get(name)
        if found is None or found.asked.actor != actor:
            raise NotFound("this command is over, or was never yours", reason="no_such_command")
        return found

    async def _ended(self, name: str, asked: Ask, how: str) -> None:
        with contextlib.suppress(EncliiError):  # that it began is recorded already
            await self._record(name, asked, how)

    async def _record(self, name: str, asked: Ask, how: str, *, outcome: Outcome = "accepted") -> None:
        program = asked.command[0][:100]
        where = f" in {asked.replica}" if asked.replica else ""
        decision = Decision(
            id=name, about="command", outcome=outcome, reason="exec", actor=asked.actor, project=asked.project,
            environment=asked.environment, service=asked.service, message=f"{program}{where} {how}", at=now(),
        )  # fmt: skip
        await self._store.commit(Step((Change(decision, None),)))
        log.info("%s: %s %s, by %s", asked.ref, name, how, asked.actor)


class _Session:
    """One command: what is typed waits for it, what it prints waits to be fetched, and both only so long."""

    def __init__(
        self,
        cluster: Cluster,
        asked: Ask,
        *,
        ended: Callable[[str], Coroutine[None, None, None]],
        gone: Callable[[], object],
    ) -> None:
        self.asked = asked
        self._gone = gone
        self._typed: asyncio.Queue[Piece] = asyncio.Queue(AHEAD)
        self._taken = 0
        self._typing = asyncio.Lock()
        self._printed: asyncio.Queue[Printed | Batch] = asyncio.Queue(AHEAD)
        self._fetching = asyncio.Lock()
        self._last = Batch()
        self._task = asyncio.create_task(self._run(cluster, ended))
        self._forget = asyncio.get_running_loop().call_later(IDLE_LIMIT, self.end)

    def end(self) -> None:
        """Stop it, and forget what it printed."""
        self._forget.cancel()
        self._task.cancel()
        self._gone()

    async def take(self, piece: Piece) -> None:
        """Keep what was typed, once. Raises Unavailable while the command does not read."""
        async with self._typing:
            if piece.number <= self._taken:
                return
            try:
                async with asyncio.timeout(TYPE_LIMIT):
                    await self._typed.put(piece)
            except TimeoutError:
                raise Unavailable("the command does not read its input", reason="input_full") from None
            self._taken = piece.number

    async def next(self, after: int) -> Batch:
        """The batch behind ``after``: the last one again, or what is there, or what comes within a second."""
        self._forget.cancel()
        self._forget = asyncio.get_running_loop().call_later(IDLE_LIMIT, self.end)
        async with self._fetching:
            if after == self._last.number - 1:
                return self._last
            if after != self._last.number:
                raise Invalid("this batch was never given out", reason="bad_event_id")
            fresh = await self._collected()
            if fresh.printed or fresh.code is not None or fresh.reason:
                self._last = msgspec.structs.replace(fresh, number=after + 1)
                return self._last
            return msgspec.structs.replace(fresh, number=after)

    async def _collected(self) -> Batch:
        found: list[Printed] = []
        size = 0
        try:
            async with asyncio.timeout(WAIT):
                one = await self._printed.get()
        except TimeoutError:
            return Batch()
        while isinstance(one, Printed):
            found.append(one)
            size += len(one.data)
            if size >= BATCH or self._printed.empty():
                return Batch(printed=tuple(found))
            one = self._printed.get_nowait()
        return msgspec.structs.replace(one, printed=tuple(found))

    async def _run(self, cluster: Cluster, ended: Callable[[str], Coroutine[None, None, None]]) -> None:
        """The session stays after the command's end until nobody fetches any more: an answer may have been lost."""
        asked, began, how = self.asked, time.monotonic(), "was ended"
        terminal = Size(asked.rows, asked.columns) if asked.rows else None
        try:
            last = await self._carried(
                cluster.execute(asked.ref, asked.command, self._pieces(), replica=asked.replica, terminal=terminal)
            )
            seconds = time.monotonic() - began
            how = f"ended with {last.code} after {seconds:.0f} s" if last.code is not None else last.message
            await self._printed.put(last)
        finally:
            await asyncio.shield(asyncio.ensure_future(ended(how)))

    async def _carried(self, printed: AsyncIterator[Printed | Exited]) -> Batch:
        try:
            async with asyncio.timeout(LONGEST), contextlib.aclosing(printed):  # type: ignore[type-var]
                async for one in printed:
                    if isinstance(one, Exited):
                        return Batch(code=one.code)
                    await self._printed.put(one)
            return Batch(reason="command_cut", message="the command ended without saying how")
        except EncliiError as error:
            return Batch(reason=error.reason, message=error.message)
        except TimeoutError:
            return Batch(reason="too_long", message=f"a command runs {LONGEST / 3600:.0f} hours at most")
        except Exception:
            log.exception("a command in %s broke off", self.asked.ref)
            return Batch(reason="command_cut", message="the command broke off")

    async def _pieces(self) -> AsyncIterator[Typed]:
        while True:
            piece = await self._typed.get()
            if piece.rows:
                yield Size(piece.rows, piece.columns)
            if piece.data:
                yield piece.data
            if piece.ended:
                return


class Commands:
    """The asking side: commands as a process without credentials starts them and speaks with them."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def open(self, asked: Ask) -> str:
        """Start it; the session's name. Raises what ``_answered`` says."""
        return (await self._asked(OPEN, asked, OPEN_LIMIT)).session

    async def type(self, piece: Piece) -> None:
        """Hand over what was typed; the same number again is the same piece."""
        await self._asked(TYPED, piece, ASK_LIMIT)

    async def fetch(self, fetch: Fetch) -> Batch:
        """What was printed behind ``after``, within about a second; the same number when there is nothing."""
        return await self._asked(PRINTED, fetch, ASK_LIMIT)

    async def end(self, fetch: Fetch) -> None:
        """Stop it."""
        await self._asked(END, fetch, ASK_LIMIT)

    async def _asked(self, subject: str, question: msgspec.Struct, limit: float) -> Batch:
        answer = await self._bus.ask(subject, msgspec.msgpack.encode(question), timeout=limit)
        found = msgspec.msgpack.decode(answer, type=Batch)
        if found.kind:
            raise _KINDS[found.kind](found.message, reason=found.reason)
        return found


_KINDS: Final[dict[str, type[EncliiError]]] = {
    kind.__name__: kind for kind in (Invalid, NotFound, Refused, Unavailable, Permanent)
}


def _failed(error: Exception) -> bytes:
    known = error if isinstance(error, EncliiError) else Invalid("the question cannot be read", reason="bad_question")
    kind = next(name for name, kind in _KINDS.items() if isinstance(known, kind) or kind is Permanent)
    return msgspec.msgpack.encode(Batch(kind=kind, reason=known.reason, message=known.message))
