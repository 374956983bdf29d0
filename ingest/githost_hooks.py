"""The git host's answers to pre-receive and post-receive, in its own process, over a socket in the state folder.

Before a ref moves its file is checked and the intent is stored; after it moved the delivery is published. While a
push is on its way no other may move the same refs, so a stored intent is never overwritten by a loser's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shlex
import sys
import uuid
import weakref
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ingest import hook_program, remotelines
from ingest.gitrepos import CONFIG_REF, Repositories, RepositoryName
from ingest.pushes import Announcer
from pipeline.errors import Conflict, Invalid, Permanent, Retryable
from pipeline.events import ConfigMoved
from pipeline.log import bound
from pipeline.names import branch, is_zero, ref, run_id, sha
from pipeline.records import Decision, Project, Push
from pipeline.store import Change, Step, now

HOOKS = ("pre-receive", "post-receive")
QUESTION_LIMIT = 1 << 20
ANSWER_LIMIT = 90.0
TURN_LIMIT = 30.0
REFS_LIMIT = 100
FILE = "enclii.yaml"
FILE_LIMIT = 256 << 10
MESSAGE_LIMIT = 4_000
log = logging.getLogger(__name__)

Check = Callable[[str], object]
"""Reads the text of ``enclii.yaml``. Raises Invalid with one line for each problem."""

Answer = tuple[int, list[str]]


@dataclass(frozen=True)
class Update:
    """One line of a hook's input."""

    before: str
    after: str
    ref: str


@dataclass
class PushInFlight:
    """One receive-pack request, from its start to the backend's end."""

    repository: RepositoryName
    actor: str
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    intents: dict[str, Push] = field(default_factory=dict)
    announced: bool = False
    announcing: asyncio.Task[None] | None = None
    ended: bool = False
    turns: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)


def updates(lines: list[str]) -> list[Update]:
    """A hook's input lines, checked. Raises Invalid."""
    if len(lines) > REFS_LIMIT:
        raise Invalid(f"a push may move {REFS_LIMIT} refs; this one moves {len(lines)}", reason="too_many_refs")
    found = []
    for line in lines:
        before, after, name = line.split(" ", 2)
        found.append(Update(sha(before), sha(after), ref(name)))
        if not name.startswith(("refs/heads/", "refs/tags/")):
            raise Invalid(f"{name[:80]}: only branches and tags are taken", reason="bad_ref")
    return found


def _not_now(error: Retryable) -> list[str]:
    """Why it may work in a moment; a failed command's own words stay in the log."""
    if error.reason == "nats_away":
        return [remotelines.STORE_AWAY]
    if error.reason in {"command_failed", "command_timeout"}:
        return remotelines.refused("git failed on the host; push again in a moment")
    return remotelines.refused(error.message)


def install(folder: Path) -> None:
    """Write the two hooks. A shell line in between, as a ``#!`` line may be too short for a deep folder."""
    folder.mkdir(parents=True, exist_ok=True)
    program = shlex.join((sys.executable, "-IS", str(Path(hook_program.__file__).resolve())))
    for hook in HOOKS:
        fresh = folder / f".{hook}"
        fresh.write_text(f"#!/bin/sh\nexec {program} {hook}\n")
        fresh.chmod(0o700)
        fresh.replace(folder / hook)


def _cleared(socket: Path) -> int:
    """The open folder for a socket whose name is free again: one that was killed left it."""
    socket.parent.mkdir(parents=True, exist_ok=True)
    socket.unlink(missing_ok=True)
    return os.open(socket.parent, os.O_RDONLY)


class _BadFile(Invalid):
    """The service file of one update breaks its rules."""

    def __init__(self, update: Update, error: Invalid) -> None:
        super().__init__(error.message, reason=error.reason)
        self.update = update


class HookHandler:
    """Answers the hooks of the pushes that this process has let in."""

    def __init__(
        self, repositories: Repositories, announcer: Announcer, *, check: Check, console_url: str, late: asyncio.Event
    ) -> None:
        self._repositories = repositories
        self._announcer = announcer
        self._check = check
        self._console_url = console_url
        self._late = late
        self._pushes: dict[str, PushInFlight] = {}
        self._turns: weakref.WeakValueDictionary[tuple[str, str], asyncio.Lock] = weakref.WeakValueDictionary()

    @contextlib.asynccontextmanager
    async def serving(self, socket: Path) -> AsyncIterator[None]:
        """Listen on ``socket``, for this user only."""
        folder = _cleared(socket)
        try:
            # Through /proc because a socket's path may have 107 bytes only.
            server = await asyncio.start_unix_server(
                self._converse, f"/proc/self/fd/{folder}/{socket.name}", limit=QUESTION_LIMIT
            )
            os.chmod(socket.name, 0o600, dir_fd=folder)
            async with server:
                yield
        finally:
            os.close(folder)

    @contextlib.asynccontextmanager
    async def letting_in(self, push: PushInFlight) -> AsyncIterator[None]:
        """While open, hooks may speak for ``push``; what its hook did not announce is left to the safety net."""
        self._pushes[push.id] = push
        try:
            yield
        finally:
            del self._pushes[push.id]
            push.ended = True
            if push.announcing is not None:
                await asyncio.wait({push.announcing})
            await push.turns.aclose()
            if (push.intents or push.repository.is_config) and not push.announced:
                self._late.set()

    def look(self, push: PushInFlight) -> None:
        """Announce what has moved as soon as git tells the client so: its post-receive hook takes a while to start.

        Nobody else may move these refs meanwhile, so a ref that holds what was intended was moved by this push.
        """
        if push.announcing is not None or not push.intents:
            return
        moved = [
            one for one in push.intents.values() if self._repositories.value(push.repository, one.ref) == one.after
        ]
        if len(moved) == len(push.intents):
            push.announcing = asyncio.create_task(self._announce(push, moved))

    async def _announce(self, push: PushInFlight, moved: Sequence[Push]) -> None:
        await self._announcer.announce(push.repository, moved)
        push.announced = True

    async def committed(self, push: PushInFlight) -> None:
        """Publish where the config branch stands after a push of the committer's, which has no hooks."""
        try:
            tip = (await self._repositories.refs(push.repository)).get(CONFIG_REF)
            if tip is not None:
                await self._announcer.store.publish(ConfigMoved(id=tip, at=now(), commit=tip, by="committer"))
            push.announced = True
        except Retryable as error:
            log.warning("the committer's push is not announced yet: %s", error.message)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(ANSWER_LIMIT):
                code, lines = await self._answer(json.loads(await reader.readline()))
                writer.write(json.dumps({"code": code, "lines": lines}).encode() + b"\n")
                await writer.drain()
        except (OSError, TimeoutError) as error:
            log.warning("a hook went without its answer: %s", type(error).__name__)
        except Exception:  # no answer is an answer: the hook refuses, or leaves the push to the safety net
            log.exception("a hook could not be answered")
        finally:
            writer.close()

    async def _answer(self, question: Mapping[str, object]) -> Answer:
        push = self._pushes.get(str(question["push"]))
        if push is None:
            return 1, remotelines.refused("this push is not known to the git host")
        given = question["lines"]
        lines = [str(line) for line in given] if isinstance(given, list) else []
        if question["hook"] == "post-receive":
            return 0, await self._after(push, updates(lines))
        git = question["git"] if isinstance(question["git"], dict) else {}
        return await self._before(push, lines, {str(key): str(value) for key, value in git.items()})

    async def _before(self, push: PushInFlight, lines: list[str], quarantine: Mapping[str, str]) -> Answer:
        try:
            wanted = updates(lines)
            if not push.repository.is_config:
                await self._take_turns(push, wanted)
                await self._check_files(push.repository, wanted, quarantine)
                await self._store_intents(push, wanted)
        except Retryable as error:
            log.warning("push refused: %s", error.message)
            return 1, _not_now(error)
        except _BadFile as error:
            await self._decide(push, error.update, error.reason, error.message)
            return 1, remotelines.invalid_file(FILE, error.update.ref, error.update.after, error.message)
        except (Permanent, ValueError) as error:
            return 1, remotelines.refused(str(error))
        return 0, []

    async def _decide(self, push: PushInFlight, update: Update, reason: str, message: str) -> None:
        """A push that is refused leaves no delivery; whoever asks about its commit finds why."""
        said = Decision(
            id=f"local:{push.id}", about="delivery", outcome="refused", reason=reason, message=message[:MESSAGE_LIMIT],
            project=push.repository.project, repository=push.repository.id, ref=update.ref, sha=update.after,
            actor=push.actor, at=now(),
        )  # fmt: skip
        try:
            await self._announcer.store.commit(Step((Change(said, 0),)))
        except Retryable as error:
            log.warning("a refusal is not recorded: %s", error.message)

    async def _take_turns(self, push: PushInFlight, wanted: list[Update]) -> None:
        """Wait for other pushes to the same refs, in one order for all; then the old values must still hold."""
        try:
            async with asyncio.timeout(TURN_LIMIT):
                for update in sorted(wanted, key=lambda update: update.ref):
                    turn = self._turns.setdefault((push.repository.id, update.ref), asyncio.Lock())
                    await push.turns.enter_async_context(turn)
        except TimeoutError:
            raise Conflict("another push to the same branch is on its way; push again", reason="push_waits") from None
        finally:
            if push.ended:  # its backend died while it waited: nobody else would give the turn back
                await push.turns.aclose()
        refs = await self._repositories.refs(push.repository)
        for update in wanted:
            if refs.get(update.ref, "0" * len(update.before)) != update.before:
                raise Conflict(f"{update.ref} moved meanwhile; fetch, then push again", reason="ref_moved")

    async def _check_files(
        self, repository: RepositoryName, wanted: list[Update], quarantine: Mapping[str, str]
    ) -> None:
        for update in wanted:
            if branch(update.ref) is None or is_zero(update.after):
                continue
            try:
                text = await self._file(repository, update.after, quarantine)
                if text is not None:
                    await asyncio.to_thread(self._check, text)
            except Invalid as error:
                raise _BadFile(update, error) from None

    async def _file(self, repository: RepositoryName, commit: str, quarantine: Mapping[str, str]) -> str | None:
        listed = await self._repositories.git(repository, "ls-tree", "-l", commit, "--", FILE, env=quarantine)
        if not listed:
            return None
        mode, _, blob, size = listed.split(b"\t")[0].split()
        if mode not in {b"100644", b"100755"}:
            raise Invalid(f"{FILE} must be a regular file", reason="bad_service_file")
        if int(size) > FILE_LIMIT:
            raise Invalid(f"{FILE} has {int(size)} bytes; {FILE_LIMIT} are allowed", reason="bad_service_file")
        content = await self._repositories.git(repository, "cat-file", "blob", blob.decode(), env=quarantine)
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise Invalid(f"{FILE} is not UTF-8 at byte {error.start}", reason="bad_service_file") from None

    async def _store_intents(self, push: PushInFlight, wanted: list[Update]) -> None:
        """One atomic step for all refs: what is accepted from here on is found again, whoever dies."""
        store, changes = self._announcer.store, []
        for update in wanted:
            known = await store.get(Push, push.repository.id, update.ref)
            intent = Push(
                repository=push.repository.id,
                ref=update.ref,
                before=update.before,
                after=update.after,
                actor=push.actor,
                delivery=f"local:{uuid.uuid4()}",
                at=now(),
            )
            push.intents[update.ref] = intent
            changes.append(Change(intent, known.seq if known else 0))
        await store.commit(Step(changes=tuple(changes)))

    async def _after(self, push: PushInFlight, moved: list[Update]) -> list[str]:
        """Publish what really moved; git has answered the client already, so nothing here can refuse."""
        try:
            if push.repository.is_config:
                return await self._config_moved(push, moved)
            await (push.announcing or self._announce(push, [push.intents[u.ref] for u in moved]))
        except Retryable as error:
            log.warning("push not announced yet: %s", error.message)
            return remotelines.recorded_for_later()
        self._log(push, moved)
        fed = await self._fed(push)
        return [line for update in moved for line in self._said(push, update, fed)]

    def _log(self, push: PushInFlight, moved: list[Update]) -> None:
        for update in moved:
            run = "" if is_zero(update.after) else run_id(push.intents[update.ref].delivery)
            with bound(run=run if branch(update.ref) else "", commit=update.after[:12]):
                log.info("%s of %s was pushed by %s", update.ref, push.repository.id, push.actor)

    async def _fed(self, push: PushInFlight) -> frozenset[str] | None:
        """The branches that feed an environment of the project; None while nobody knows them."""
        try:
            found = await self._announcer.store.get(Project, push.repository.project)
        except Retryable:
            return None
        return frozenset(one.branch for one in found.record.environments) if found else None

    def _said(self, push: PushInFlight, update: Update, fed: frozenset[str] | None) -> list[str]:
        name = branch(update.ref)
        if name is None or is_zero(update.after):
            return remotelines.ref_recorded(update.ref, update.after)
        if fed is not None and name not in fed:
            return remotelines.nothing_fed(update.ref, update.after, project=push.repository.project)
        run = run_id(push.intents[update.ref].delivery)
        project = push.repository.project
        return remotelines.run_started(run, update.ref, update.after, project=project, console_url=self._console_url)

    async def _config_moved(self, push: PushInFlight, moved: list[Update]) -> list[str]:
        tip = next((u.after for u in moved if u.ref == CONFIG_REF and not is_zero(u.after)), None)
        if tip is None:
            return []
        store = self._announcer.store
        # A force push may go back to a commit that was announced long ago: that, too, is news.
        if not await store.publish(ConfigMoved(id=tip, at=now(), commit=tip)):
            await store.publish(ConfigMoved(id=f"{tip}/{push.id}", at=now(), commit=tip))
        push.announced = True
        return remotelines.config_moved(tip)
