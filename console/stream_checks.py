"""Whether NATS' streams have room left, as its monitoring page tells: a full one takes nothing more.

Of build logs that loses lines alone; where deliveries or state lie, work stops.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final
from urllib.parse import urlsplit

from gitops.clusters import Finding
from pipeline import durability

NEARLY: Final = 0.8
"""The part of its room that a stream may take before it is told of."""
HOLDERS: Final = ("HOOKS", "PIPE", "LOGS")
"""Streams that discard what is new when they are full; the others forget what is old."""
FREE_LOGS: Final = "shed old releases with their logs: enclii retention --apply"
FREE_STATE: Final = "raise the stream's max_bytes: nats stream edit"


async def check_room(monitors: str) -> list[Finding]:
    """One finding for all streams that have room, one for each that has hardly any; none where no page tells, which
    is said elsewhere."""
    taken: dict[str, float] = {}
    for monitor in monitors.split(","):
        try:
            page = await durability.page(urlsplit(monitor.strip()), "jsz?streams=true&config=true")
            taken |= {name: max(part, taken.get(name, 0.0)) for name, part in _taken(page).items()}
        except (OSError, TimeoutError, ValueError, LookupError, TypeError, AttributeError, asyncio.IncompleteReadError):
            continue
    short = [_short(name, part) for name, part in sorted(taken.items()) if part >= NEARLY]
    told = ", ".join(f"{name} {part:.0%}" for name, part in sorted(taken.items()))
    return short or ([Finding("ok", "NATS room", f"of their room the streams take: {told}")] if taken else [])


def _taken(page: dict[str, Any]) -> dict[str, float]:
    """Which part of its bytes each stream takes."""
    streams = [stream for account in page.get("account_details") or [] for stream in account.get("stream_detail") or []]
    rooms = {one["name"]: (one["state"]["bytes"], one["config"]["max_bytes"]) for one in streams}
    return {name: held / most for name, (held, most) in rooms.items() if name in HOLDERS and most > 0}


def _short(name: str, part: float) -> Finding:
    fix = FREE_LOGS if name == "LOGS" else FREE_STATE
    level = "warning" if name == "LOGS" else "error"
    return Finding(level, "NATS room", f"stream {name} takes {part:.0%} of its room, and nothing new once full", fix)  # type: ignore[arg-type]
