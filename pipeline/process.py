"""The one door to other programs: argv tuples, a deadline on each, the whole process group ended with it.

Arguments and environment are given by the caller and nothing is inherited; a value that may be secret goes by stdin
or by file, never by argv, because both the error text and every other user's ``ps`` show the argv.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pipeline.errors import Retryable

TAIL = 4_000
LINE_LIMIT = 1 << 20
PIPE_BYTES = 1 << 16
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

LEFTOVER = 2.0

Sink = Callable[[str, bytes], Awaitable[None]]
"""Receives ("stdout" | "stderr", one line without its end)."""


@dataclass(frozen=True)
class Completed:
    """What a program left behind."""

    argv: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes


@dataclass(frozen=True)
class Streams:
    """What a program's three streams are: files, or ends of pipes."""

    stdin: int | None = None
    stdout: IO[bytes] | int = asyncio.subprocess.PIPE
    stderr: IO[bytes] | int = asyncio.subprocess.PIPE


class CommandFailed(Retryable):
    """A program ended with a code other than 0, or could not be started; carries what it said last."""

    def __init__(self, argv: Sequence[str], returncode: int, stderr: bytes) -> None:
        said = stderr[-TAIL:].decode("utf-8", "replace").strip()
        super().__init__(f"{shlex.join(argv)} ended with {returncode}: {said}", reason="command_failed")
        self.argv = tuple(argv)
        self.returncode = returncode
        self.stderr = stderr


class CommandTimeout(Retryable):
    """A program was still running at its deadline; its whole group has been ended."""

    def __init__(self, argv: Sequence[str], timeout: float) -> None:
        super().__init__(f"{shlex.join(argv)} did not end within {timeout:g} s", reason="command_timeout")
        self.argv = tuple(argv)


def orphan_proof(argv: Sequence[str]) -> tuple[str, ...]:
    """Prefix ``argv`` so that the kernel kills it when this process dies, however it dies (Linux, util-linux)."""
    return ("setpriv", "--pdeathsig", "KILL", "--", *argv)


async def run(
    argv: Sequence[str],
    *,
    timeout: float,  # noqa: ASYNC109 - the deadline belongs to the program, which is ended with its group
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    small: bytes | None = None,
    grace: float = 5.0,
    patience: float = 0.0,
    check: bool = True,
) -> Completed:
    """Run one program to its end and return what it printed.

    ``small``: input of at most 64 KiB through a pipe, for a program that takes no other (``stdin`` is a socket's end).
    ``patience``: seconds for which a cancelled caller still waits, for a program that leaves things half done.
    Raises CommandFailed for a code other than 0 when ``check``, CommandTimeout at the deadline.
    """
    # Files, not pipes: a daemon that the program leaves behind inherits them, and a pipe would never end.
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr, _piped(small) as pipe:
        streams = Streams(asyncio.subprocess.PIPE if stdin is not None else pipe, stdout, stderr)
        async with started(argv, cwd=cwd, env=env, streams=streams, grace=grace) as child:
            try:
                async with asyncio.timeout(timeout):
                    await child.communicate(stdin)
            except TimeoutError:
                raise CommandTimeout(argv, timeout) from None
            except asyncio.CancelledError:
                await _finished(child, patience)
                raise
        done = Completed(tuple(argv), child.returncode or 0, _written(stdout), _written(stderr))
    if check and done.returncode != 0:
        raise CommandFailed(done.argv, done.returncode, done.stderr or done.stdout)
    return done


async def stream(
    argv: Sequence[str],
    sink: Sink,
    *,
    timeout: float,  # noqa: ASYNC109 - as in run()
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    grace: float = 5.0,
) -> int:
    """Run one program, hand each line to ``sink`` as it comes, and return the exit code.

    A line beyond 1 MiB is handed over in pieces. Raises CommandTimeout at the deadline; whatever ``sink`` raises ends
    the program and comes through.
    """
    async with started(argv, cwd=cwd, env=env, streams=Streams(), grace=grace) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        try:
            async with asyncio.timeout(timeout), asyncio.TaskGroup() as group:
                drains = [
                    group.create_task(_drain(child.stdout, "stdout", sink)),
                    group.create_task(_drain(child.stderr, "stderr", sink)),
                ]
                await child.wait()
                await asyncio.wait(drains, timeout=LEFTOVER)
                for drain in drains:  # still open: a daemon that the program left behind holds the pipe
                    drain.cancel()
        except TimeoutError:
            raise CommandTimeout(argv, timeout) from None
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from None
    return child.returncode or 0


@contextlib.contextmanager
def _piped(data: bytes | None) -> Iterator[int | None]:
    """A pipe's end to read ``data`` from: all of it fits into the kernel's buffer, so nobody has to write along."""
    if data is None:
        yield None
        return
    if len(data) > PIPE_BYTES:
        raise ValueError("more than a pipe holds")
    reading, writing = os.pipe()
    try:
        os.write(writing, data)
        os.close(writing)
        yield reading
    finally:
        os.close(reading)


def _written(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


async def _drain(pipe: asyncio.StreamReader, name: str, sink: Sink) -> None:
    rest = b""
    while chunk := await pipe.read(65_536):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            await sink(name, line)
        while len(rest) >= LINE_LIMIT:
            await sink(name, rest[:LINE_LIMIT])
            rest = rest[LINE_LIMIT:]
    if rest:
        await sink(name, rest)


@contextlib.asynccontextmanager
async def started(
    argv: Sequence[str], *, cwd: Path | None, env: Mapping[str, str] | None, streams: Streams, grace: float
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program that runs while the context is open. Raises CommandFailed when it cannot be started."""
    try:
        child = await asyncio.create_subprocess_exec(
            *argv,
            cwd=cwd,
            env={"PATH": SEARCH_PATH, "LANG": "C.UTF-8", **(env or {})},
            stdin=asyncio.subprocess.DEVNULL if streams.stdin is None else streams.stdin,
            stdout=streams.stdout,
            stderr=streams.stderr,
            start_new_session=True,
        )
    except OSError as error:
        raise CommandFailed(argv, 127, str(error).encode()) from error
    try:
        yield child
    finally:
        await asyncio.shield(_end(child, grace))


async def _finished(child: asyncio.subprocess.Process, patience: float) -> None:
    """Let it end by itself; what was still to be said to it is not."""
    if child.stdin is not None:
        child.stdin.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(patience):
            await child.wait()


async def _end(child: asyncio.subprocess.Process, grace: float) -> None:
    """TERM, then KILL, the child's whole group: a build's grandchildren must not outlive it."""
    if child.returncode is None:
        _signal_group(child.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await child.wait()
    _signal_group(child.pid, signal.SIGKILL)
    await child.wait()


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
