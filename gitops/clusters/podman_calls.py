"""Podman's command line with deadlines: every failure an error of ours, every answer checked to be one."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gitops.clusters import podman_commands as commands
from pipeline import process
from pipeline.errors import Unavailable
from pipeline.process import CommandFailed, CommandTimeout, Completed

QUICK = 30.0
PLAY = 120.0
PATIENCE = 10.0
"""Seconds for which a change is still waited for when nobody wants it any more."""
LEAVING = "network namespace"
ASKED_AGAIN = 20
PAUSE = 0.5


@dataclass(frozen=True)
class Calls:
    """``env`` goes to every call."""

    env: Mapping[str, str]
    _going: set[asyncio.Task[Completed]] = field(default_factory=set, init=False, repr=False, compare=False)

    async def run(
        self, argv: commands.Argv, doing: str, *, timeout: float = QUICK, stdin: bytes | None = None,  # noqa: ASYNC109
        patience: float = 0.0,
    ) -> Completed:  # fmt: skip
        """Raises what commands.fault says."""
        try:
            return await process.run(argv, stdin=stdin, timeout=timeout, env=self.env, patience=patience)
        except (CommandFailed, CommandTimeout) as error:
            raise commands.fault(error, doing) from error

    async def change(
        self, argv: commands.Argv, doing: str, *, timeout: float = PLAY, stdin: bytes | None = None  # noqa: ASYNC109
    ) -> Completed:  # fmt: skip
        """As ``run``, for what puts containers on a network or takes them off: it is not broken off.

        Podman, ended in the middle of it, leaves rules in the firewall that lead a port into nowhere for good.
        """
        return await self.run(argv, doing, timeout=timeout, stdin=stdin, patience=PATIENCE)

    async def let_go(self, argv: commands.Argv, doing: str, *, timeout: float) -> None:  # noqa: ASYNC109
        """As ``change``, for what takes its time to leave: it goes on when nobody waits for it any more.

        What goes wrong then is found by whoever looks next, for the container is still there.
        """
        going = asyncio.ensure_future(self.change(argv, doing, timeout=timeout))
        self._going.add(going)
        going.add_done_callback(self._gone)
        await asyncio.shield(going)

    def _gone(self, going: asyncio.Task[Completed]) -> None:
        self._going.discard(going)
        if not going.cancelled():
            going.exception()

    async def read(self, argv: commands.Argv, doing: str) -> Any:
        """The JSON that it prints."""
        return parsed((await self._asked(argv, doing)).stdout, doing)

    async def holds(self, argv: commands.Argv) -> bool:
        """Whether it ends with 0."""
        try:
            done = await process.run(argv, timeout=PLAY, env=self.env, check=False, patience=PATIENCE)
            return done.returncode == 0
        except CommandTimeout as error:
            raise commands.fault(error, "ask podman") from error

    async def names(self, argv: commands.Argv, doing: str) -> list[str]:
        """The words that it prints."""
        return (await self._asked(argv, doing)).stdout.decode().split()

    async def _asked(self, argv: commands.Argv, doing: str) -> Completed:
        """As ``run``, asked again while podman stumbles over anybody's container whose network is being taken down."""
        for _ in range(ASKED_AGAIN):
            try:
                return await self.run(argv, doing)
            except Unavailable as error:
                if LEAVING not in error.message:
                    raise
            await asyncio.sleep(PAUSE)  # the leaving container is not ours to wait for
        return await self.run(argv, doing)


def parsed(text: bytes, doing: str) -> Any:
    """Podman's JSON; nothing is an empty list. Raises Unavailable."""
    try:
        return json.loads(text or b"[]") or []
    except ValueError as error:
        raise Unavailable(f"podman gave an unreadable answer ({doing})", reason="podman_failed") from error


@contextlib.asynccontextmanager
async def all_or_first_error() -> AsyncIterator[asyncio.TaskGroup]:
    """A group of calls of which the first failure is raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None
