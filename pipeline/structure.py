"""The streams: made by who may make them, awaited by all others.

Who may change a stream may do everything to what is in it, so where each process has a NATS user of its own there is
one more, ``setup``, who makes streams and writes nothing. A server without users lets each process make them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Awaitable, Callable

from pipeline.bus import Bus, connect
from pipeline.entries import AUDIT, NANO
from pipeline.errors import EncliiError, Refused, Unavailable
from pipeline.needs import NEEDS, SETUP
from pipeline.rights import USERS, Difference, difference, rights_of
from pipeline.settings import Secret, Settings

log = logging.getLogger(__name__)

NO_STREAM = 10059
PAUSE = 0.25
SETUP_LIMIT = 120.0


async def connected(told: Settings, name: str, *, wait: float) -> Bus:
    """The connection of the process ``name``, held to its needs where it has a NATS user of its own.

    Raises Unavailable.
    """
    return await opened(told, name, told.nats_user, told.nats_password, wait=wait)


async def opened(told: Settings, name: str, user: str, password: Secret, *, wait: float) -> Bus:
    """The connection of any user of ours, or of somebody else's. Raises Unavailable."""
    rights = rights_of(user) if user in USERS else None
    return await connect(
        told.nats_url, name=name, user=user, password=password.reveal(), ca=_ca(told), rights=rights, wait=wait
    )


async def stand(bus: Bus, told: Settings, *, wait: float) -> None:
    """Return when the streams are there. Raises Unavailable when nobody has made them after ``wait`` seconds."""
    if not bus.restricted:
        await bus.create_streams(replicas=told.nats_replicas)
        return
    if told.nats_setup_password.reveal():
        await make(told, wait=wait)
    deadline = asyncio.get_running_loop().time() + wait
    while missing := await _missing(bus, NEEDS[told.nats_user].streams):
        if asyncio.get_running_loop().time() > deadline:
            text = f"NATS has no stream {', '.join(missing)}: python -m pipeline setup makes them"
            raise Unavailable(text, reason="no_streams")
        await asyncio.sleep(PAUSE)


async def kept(bus: Bus, told: Settings, *, pause: float = 1.0) -> None:
    """Make again, without end, what a server that died forgot: the leases, which are in memory.

    Without them nobody leads, and who starts waits for them.
    """
    if bus.restricted and not told.nats_setup_password.reveal():
        return
    seen = bus.reconnections
    while True:
        await asyncio.sleep(pause)
        if (now := bus.reconnections) == seen:
            continue
        try:
            await stand(bus, told, wait=SETUP_LIMIT)
            seen = now
        except EncliiError as error:
            log.warning("the streams cannot be made again yet: %s", error)


async def _missing(bus: Bus, streams: tuple[str, ...]) -> list[str]:
    found = []
    for name in streams:
        try:
            answer = await bus.asked(f"STREAM.MSG.GET.{name}", {"seq": 1})
        except Unavailable:  # of several servers none answers for a stream that is not there, or has no leader yet
            answer = {"error": {"err_code": NO_STREAM}}
        if answer.get("error", {}).get("err_code") == NO_STREAM:
            found.append(name)
    return found


async def make(told: Settings, *, wait: float) -> None:
    """Make the streams, or bring them to what this version wants, as the user who may. Raises Unavailable, Refused."""
    bus = await opened(told, SETUP, SETUP, told.nats_setup_password, wait=wait)
    deadline = asyncio.get_running_loop().time() + wait
    try:
        while True:
            try:
                await bus.create_streams(replicas=told.nats_replicas)
                await bus.create(
                    "AUDIT", {**AUDIT, "max_age": int(told.audit_retention * NANO)}, replicas=told.nats_replicas
                )
                return
            except Unavailable as error:  # servers that have not found each other yet
                if asyncio.get_running_loop().time() > deadline:
                    raise
                log.info("the streams cannot be made yet: %s", error)
                await asyncio.sleep(PAUSE)
    finally:
        await bus.close()


def rights_check(bus: Bus, user: str) -> Callable[[], Awaitable[None]]:
    """Readiness: the server grants all that is needed. What it grants beside that stops nobody's work."""

    async def check() -> None:
        found = difference(user, await bus.own_rights())
        if found.few:
            raise Refused(Difference(user, found.few).told(), reason="too_few_rights")

    return check


def rights_view(bus: Bus, user: str) -> Callable[[str], Awaitable[tuple[int, bytes]]]:
    """The loopback answer at ``/rights``: ``{"user", "few", "many"}``, both lists empty when all is as it should be."""

    async def view(_: str) -> tuple[int, bytes]:
        found = difference(user, await bus.own_rights())
        return 200, json.dumps({"user": user, "few": found.few, "many": found.many}).encode()

    return view


def setup() -> None:
    """``python -m pipeline setup``: make the streams and end. Exits 2 for wrong settings, 1 when it cannot be done."""
    try:
        told = Settings.from_env(os.environ, process=SETUP)
    except EncliiError as error:
        sys.stderr.write(f"setup: the configuration has problems:\n{error}\n")
        sys.exit(2)
    try:
        asyncio.run(make(told, wait=SETUP_LIMIT))
    except EncliiError as error:
        sys.stderr.write(f"setup: {error}\n")
        sys.exit(1)


def _ca(told: Settings) -> str:
    return str(told.below_home(told.nats_ca)) if told.nats_ca.name else ""
