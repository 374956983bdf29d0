"""A command in a pod's container, over the API server's websocket: one byte of channel before each message.

Protocol ``v5.channel.k8s.io`` is asked for, since only there can the input end before the command does.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any, Final

from gitops.clusters import Exited, Printed, Size, Typed
from gitops.clusters.kube_api import Api, path_of
from gitops.clusters.kube_objects import Pod
from pipeline.errors import Unavailable

PROTOCOLS: Final = ("v5.channel.k8s.io", "v4.channel.k8s.io")
STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
END_OF_TYPING: Final = b"\x04"
NOT_THERE: Final = re.compile("no such file|not found", re.IGNORECASE)


async def execute(
    api: Api, pod: Pod, container: str, command: Sequence[str], typed: AsyncIterator[Typed], *, terminal: Size | None
) -> AsyncGenerator[Printed | Exited, None]:
    """Run ``command`` there. Raises NotFound, Refused, Unavailable."""
    path = path_of("api", "v1", "namespaces", pod.metadata.namespace, "pods", pod.metadata.name, "exec")
    query = [("container", container), ("stdin", "true"), ("stdout", "true")]
    query += [("tty", "true")] if terminal else [("stderr", "true")]
    query += [("command", word) for word in command]
    async with api.websocket(path, query, protocols=PROTOCOLS, doing=f"run a command in {pod.metadata.name}") as socket:
        if terminal:
            await socket.send_bytes(_resized(terminal))
        typing = asyncio.create_task(_type(socket, typed, terminal=terminal is not None))
        try:
            async for message in socket:
                if not isinstance(message.data, bytes | str) or not message.data:
                    continue
                data = message.data if isinstance(message.data, bytes) else message.data.encode()
                for one in _heard(data[0], data[1:]):
                    yield one
                if data[0] == ERROR:
                    return
        finally:
            typing.cancel()
            await asyncio.gather(typing, return_exceptions=True)
    raise Unavailable("the cluster cut the connection to the command", reason="command_cut")


def _heard(channel: int, data: bytes) -> list[Printed | Exited]:
    if channel in (STDOUT, STDERR):
        return [Printed("stdout" if channel == STDOUT else "stderr", data)] if data else []
    return ended(data) if channel == ERROR else []


def ended(data: bytes) -> list[Printed | Exited]:
    """What the API server's last word means: the exit code, after its text where the command never ran."""
    try:
        said = json.loads(data)
        if said.get("status") == "Success":
            return [Exited(0)]
        causes = (said.get("details") or {}).get("causes") or ()
        codes = [int(one["message"]) for one in causes if one.get("reason") == "ExitCode"]
        text = str(said.get("message", ""))
    except (ValueError, KeyError, AttributeError, TypeError):
        raise Unavailable("the cluster's word on the command cannot be read", reason="command_cut") from None
    if codes:
        return [Exited(codes[0])]
    return [Printed("stderr", text.encode() + b"\n"), Exited(127 if NOT_THERE.search(text) else 126)]


async def _type(socket: Any, typed: AsyncIterator[Typed], *, terminal: bool) -> None:
    """On a terminal the end is typed: containerd would take the end of the stream for that of the output as well."""
    async for one in typed:
        await socket.send_bytes(_resized(one) if isinstance(one, Size) else bytes((STDIN,)) + one)
    if terminal:
        await socket.send_bytes(bytes((STDIN,)) + END_OF_TYPING)
    elif socket.protocol == PROTOCOLS[0]:
        await socket.send_bytes(bytes((CLOSE, STDIN)))


def _resized(size: Size) -> bytes:
    return bytes((RESIZE,)) + json.dumps({"Width": size.columns, "Height": size.rows}).encode()
