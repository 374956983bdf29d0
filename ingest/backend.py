"""One ``git http-backend`` for one request: the body streams in while the answer streams out.

A client that goes away does not end the backend, because a push whose last byte has arrived moves its ref whoever
still listens. Silence does: no byte from the client for a while closes the backend's input, and git gives up itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from pipeline.process import SEARCH_PATH

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Head = tuple[int, list[tuple[bytes, bytes]]]

CHUNK = 65_536
HEAD_LIMIT = 16_384
TAIL = 2_000
PASSED_ON = {b"content-type", b"cache-control", b"expires", b"pragma"}
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """``total`` seconds for a request, ``silence`` seconds between two pieces of its body, ``body`` bytes at most."""

    total: float = 1800.0
    silence: float = 60.0
    body: int = 2 << 30


async def serve(env: Mapping[str, str], receive: Receive, send: Send, limits: Limits) -> None:
    """Answer one request by git's own backend. The client sees 500 when it says nothing usable."""
    backend = await asyncio.create_subprocess_exec(
        "git",
        "http-backend",
        env={"PATH": SEARCH_PATH, "LANG": "C.UTF-8", **env},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(limits.total):
            await _converse(backend, receive, send, limits)
    except TimeoutError:
        log.warning("git http-backend did not end within %g s", limits.total)
    finally:
        if backend.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(backend.pid, signal.SIGKILL)
            await backend.wait()


async def _converse(backend: asyncio.subprocess.Process, receive: Receive, send: Send, limits: Limits) -> None:
    assert backend.stdin is not None
    assert backend.stdout is not None
    assert backend.stderr is not None
    async with asyncio.TaskGroup() as group:
        feeding = group.create_task(_feed(backend.stdin, receive, limits))
        complaints = group.create_task(_tail(backend.stderr))
        head = await _head(backend.stdout)
        if head is None:
            await feeding  # an answer before the body's end would reach the client as a reset
            await _answer_500(send)
        else:
            await _pass_on(backend.stdout, head, send, feeding)
        await backend.wait()
    if complaints.result():
        log.warning("git http-backend: %s", complaints.result().decode("utf-8", "replace"))


async def _feed(stdin: asyncio.StreamWriter, receive: Receive, limits: Limits) -> None:
    """Hand the body over, and go on reading it after the backend stopped to: a refusal is read only then."""
    total, more, listening = 0, True, True
    while more and total <= limits.body:
        try:
            message = await asyncio.wait_for(receive(), limits.silence)
        except TimeoutError:
            break
        if message["type"] == "http.disconnect":
            break
        chunk, more = message.get("body", b""), message.get("more_body", False)
        total += len(chunk)
        listening = listening and await _written(stdin, chunk)
    with contextlib.suppress(OSError, RuntimeError):
        stdin.close()


async def _written(stdin: asyncio.StreamWriter, chunk: bytes) -> bool:
    try:
        stdin.write(chunk)
        await stdin.drain()
    except (OSError, RuntimeError):  # uvloop says RuntimeError for a closed pipe
        return False
    return True


async def _head(stdout: asyncio.StreamReader) -> Head | None:
    """The CGI head: the status (200 when none is said) and the headers that the client needs."""
    headers: list[tuple[bytes, bytes]] = []
    status, size = 200, 0
    while line := await stdout.readline():
        size += len(line)
        if not line.strip():
            return status, headers
        key, _, value = line.strip().partition(b":")
        if size > HEAD_LIMIT:
            return None
        if key.lower() == b"status" and value.split()[:1] and value.split()[0].isdigit():
            status = int(value.split()[0])
        elif key.lower() in PASSED_ON:
            headers.append((key.lower(), value.strip()))
    return None


async def _pass_on(stdout: asyncio.StreamReader, head: Head, send: Send, feeding: asyncio.Task[None]) -> None:
    """Stream the answer; its end is sent after the body was read, so that no client sees a reset."""
    status, headers = head
    await _sent(send, {"type": "http.response.start", "status": status, "headers": headers})
    while chunk := await stdout.read(CHUNK):
        await _sent(send, {"type": "http.response.body", "body": chunk, "more_body": True})
    await feeding
    await _sent(send, {"type": "http.response.body", "body": b""})


async def _answer_500(send: Send) -> None:
    text = b"enclii: git gave no answer; see the git host's log\n"
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(text)).encode())]
    await _sent(send, {"type": "http.response.start", "status": 500, "headers": headers})
    await _sent(send, {"type": "http.response.body", "body": text})


async def _sent(send: Send, message: MutableMapping[str, Any]) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more: the backend is drained to its end all the same
        await send(message)


async def _tail(stderr: asyncio.StreamReader) -> bytes:
    kept = b""
    while chunk := await stderr.read(CHUNK):
        kept = (kept + chunk)[-TAIL:]
    return kept.strip()
