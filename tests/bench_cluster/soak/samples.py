"""What leaks would show in: memory and open files of each process, the streams, the disk, at a few moments."""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from console import platform
from console.installation import Addresses
from pipeline.errors import Unavailable
from tests.bench_cluster.soak.pace import paced

SAMPLES: Final = 12
_RESIDENT: Final = re.compile(r"^VmRSS:\s+(\d+) kB", re.MULTILINE)


class Sampler:
    """A row for each thing looked at, with one value for each moment; None where it could not be seen then."""

    def __init__(self, at: Addresses) -> None:
        self._at = at
        self._seen: list[dict[str, dict[str, float]]] = []

    def thread(self, seconds: float, ended: threading.Event) -> threading.Thread:
        """What looks while the time lasts."""
        return paced(range(SAMPLES), SAMPLES, seconds, ended, lambda _: self._look())

    def _look(self) -> None:
        found: dict[str, dict[str, float]] = defaultdict(dict)
        with contextlib.suppress(Unavailable):
            for one in platform.status(self._at.home):
                with contextlib.suppress(OSError, TypeError):  # it ends while it is looked at
                    process = Path(f"/proc/{one.pid}")
                    found["rss_mb"][one.name] = _resident(process)
                    found["open_files"][one.name] = len(list((process / "fd").iterdir()))
                    found["age_s"][one.name] = round(time.time() - one.since)
        for name, state in _streams(self._at.nats_monitor).items():
            found["stream_mb"][name] = round(state["bytes"] / 1e6, 1)
            found["stream_messages"][name] = state["messages"]
        found["disk_mb"] = {room.name: _size(room) for room in sorted(self._at.home.iterdir()) if room.is_dir()}
        self._seen.append(dict(found))

    def told(self) -> dict[str, Any]:
        """The rows."""
        rows: dict[str, dict[str, list[float | None]]] = {}
        for what in sorted({what for sample in self._seen for what in sample}):
            names = sorted({name for sample in self._seen for name in sample.get(what, {})})
            rows[what] = {name: [sample.get(what, {}).get(name) for sample in self._seen] for name in names}
        return rows


def _resident(process: Path) -> float:
    found = _RESIDENT.search((process / "status").read_text())
    if found is None:
        raise OSError("it has no memory any more")
    return round(int(found[1]) * 1024 / 1e6, 1)


def _streams(monitor: str) -> Mapping[str, Any]:
    """The state of each stream; nothing while NATS is away."""
    try:
        with urllib.request.urlopen(f"{monitor}/jsz?streams=true", timeout=10) as answer:
            page = json.load(answer)
    except (OSError, ValueError):
        return {}
    accounts = page.get("account_details") or ()
    return {one["name"]: one["state"] for account in accounts for one in account.get("stream_detail") or ()}


def _size(room: Path) -> float:
    total = 0
    for folder, _, files in os.walk(room):
        for file in files:
            with contextlib.suppress(OSError):  # removed since it was listed
                total += os.lstat(os.path.join(folder, file)).st_blocks * 512  # noqa: PTH118 - many thousands
    return round(total / 1e6, 1)
