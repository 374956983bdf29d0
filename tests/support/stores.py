"""The two stores that are programs of other people, each of which a test may kill and start again where it was."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from tests.support import nats, registry

Start = Callable[[int | None], AbstractContextManager[tuple[str, subprocess.Popen[bytes]]]]


class Restartable:
    """One server that keeps its directory and its port over a ``kill -9``."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._stack = ExitStack()
        self.address, self._process = self._stack.enter_context(start(None))

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self._process.kill()
        self._process.wait()
        self._stack.close()

    def again(self) -> None:
        """Start it on the same directory and port."""
        port = int(self.address.rpartition(":")[2])
        self.address, self._process = self._stack.enter_context(self._start(port))

    def end(self) -> None:
        """End it in order."""
        self._stack.close()


def event_store(tmp: Path) -> Restartable:
    """A nats-server."""
    return Restartable(lambda port: nats.running_server(tmp, port=-1 if port is None else port, extra=nats.AUTHORIZED))


def image_store(tmp: Path) -> Restartable:
    """An OCI registry."""
    return Restartable(lambda port: registry.running_server(tmp, port=port or 0))
