"""Whether what is acknowledged is on the disk: asked of NATS' monitoring page and of git's version, never assumed.

No JetStream call tells how a server syncs, so its monitoring page is read. A server's own default acknowledges up to
two minutes before it syncs, and a git before 2.36 ignores the setting that makes it sync.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from pipeline import process
from pipeline.errors import Refused, Unavailable
from pipeline.settings import MAY_LOSE

log = logging.getLogger(__name__)

GIT_THAT_SYNCS: Final = (2, 36)
ANSWER_LIMIT: Final = 5.0
PATIENCE: Final = 15.0
PAGE_LIMIT: Final = 1 << 20
NANO: Final = 1_000_000_000
WEAKER: Final = f"or say ENCLII_DURABILITY={MAY_LOSE}"
FIX_NATS: Final = f"set jetstream {{ sync_interval: always }} in the NATS server's configuration, {WEAKER}"
FIX_GIT: Final = f"install git 2.36 or newer, {WEAKER}"


@dataclass(frozen=True)
class Sync:
    """How one NATS server syncs; ``interval`` in seconds between syncs where ``always`` is false."""

    server: str
    version: str
    always: bool
    interval: float

    def told(self) -> str:
        """In words."""
        how = "syncs before it acknowledges" if self.always else f"syncs every {self.interval:g} s only"
        return f"NATS {self.version} at {self.server} {how}"


async def nats_syncs(monitors: str) -> tuple[Sync, ...]:
    """How each server behind ``monitors`` (addresses, by commas) syncs; one that is down is passed over.

    Raises Unavailable when none of them tells.
    """
    answers = await asyncio.gather(*map(_sync, monitors.split(",")), return_exceptions=True)
    found = tuple(answer for answer in answers if isinstance(answer, Sync))
    if not found:
        raise Unavailable(
            f"no NATS monitoring page at {monitors} tells whether the server syncs: set ENCLII_NATS_MONITOR_URL",
            reason="durability_unknown",
        )
    return found


async def _sync(monitor: str) -> Sync:
    address = urlsplit(monitor.strip())
    found = await page(address, "varz")
    config = found.get("jetstream", {}).get("config")
    if not isinstance(config, dict):
        raise Unavailable(f"the NATS server at {address.netloc} has no JetStream", reason="durability_unknown")
    interval = int(config.get("sync_interval", 0)) / NANO
    return Sync(address.netloc, str(found.get("version", "?")), bool(config.get("sync_always")), interval)


async def page(address: SplitResult, name: str) -> dict[str, Any]:
    """A monitoring page, by the plainest HTTP there is: a client would cost each process more memory than it is worth.

    Raises OSError, TimeoutError, ValueError.
    """
    secure = address.scheme == "https"
    port = address.port or (443 if secure else 80)
    async with asyncio.timeout(ANSWER_LIMIT):
        reader, writer = await asyncio.open_connection(address.hostname, port, ssl=secure or None, limit=PAGE_LIMIT)
        try:
            writer.write(f"GET {address.path}/{name} HTTP/1.0\r\nHost: {address.netloc}\r\n\r\n".encode())
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.read(PAGE_LIMIT) if head.split(b" ", 2)[1] == b"200" else b""
            while more := await reader.read(PAGE_LIMIT):
                body += more
        finally:
            writer.close()
    told: dict[str, Any] = json.loads(body[:PAGE_LIMIT])
    return told


async def git_version(program: str = "git") -> tuple[int, ...]:
    """The version of git on this machine. Raises CommandFailed when there is none."""
    done = await process.run((program, "--version"), timeout=ANSWER_LIMIT)
    return tuple(int(part) for part in re.findall(rb"[0-9]+", done.stdout)[:3])


async def demand_nats(monitors: str, durability: str, *, patience: float = PATIENCE) -> None:
    """Return when NATS syncs before it acknowledges, or when somebody said in words that it need not.

    Raises Refused, also when nothing could be learned: a check that cannot be made fails.
    """
    if durability == MAY_LOSE:
        log.warning("ENCLII_DURABILITY=%s: what NATS acknowledged may be lost with the machine's power", MAY_LOSE)
        return
    deadline = asyncio.get_running_loop().time() + patience
    while True:
        try:
            found = await nats_syncs(monitors)
            break
        except Unavailable as error:
            if asyncio.get_running_loop().time() > deadline:
                raise Refused(f"{error.message}, {WEAKER}", reason=error.reason) from error
            await asyncio.sleep(0.25)
    if weak := [one.told() for one in found if not one.always]:
        raise Refused(f"{'; '.join(weak)}: {FIX_NATS}", reason="nats_not_durable")


async def demand_git(durability: str, *, program: str = "git") -> None:
    """Return when git syncs what it accepts, or when somebody said in words that it need not. Raises Refused."""
    found = await git_version(program)
    if found < GIT_THAT_SYNCS and durability != MAY_LOSE:
        told = ".".join(map(str, found))
        raise Refused(f"git {told} knows no core.fsync and syncs no push: {FIX_GIT}", reason="git_not_durable")
