"""``soak.cli_errors``, ``soak.lost``, ``soak.doubled``: an hour of pushes and of the command line while processes die.

One installation as ``enclii up`` makes it, with its supervisor. Every twenty seconds one of its processes gets KILL or
TERM, now and then a store. A push that git said yes to has to end as one run, and that as one release in one config
commit, or to be overtaken by a newer one; a call is an error whenever a person would call it one.

``make bench-cluster FIGURE=soak`` takes the hour; ``python -m tests.bench_cluster.soak HOURS`` a part of it, with as
small a part of the pushes and calls.
"""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from console import platform
from console.installation import Addresses
from pipeline.errors import Unavailable
from tests.bench.figures import Bound, Family, Figure
from tests.bench_cluster.soak.account import Account, begun, settled
from tests.bench_cluster.soak.calls import Calls
from tests.bench_cluster.soak.kills import Killer
from tests.bench_cluster.soak.pushes import Pushes
from tests.bench_cluster.soak.samples import Sampler
from tests.support.components import SEARCH_PATH, needs

HOUR: Final = 3600.0
PUSHES: Final = 1_000
CALLS: Final = 10_000
"""In an hour."""
READY: Final = 120.0
ENOUGH: Final = 0.99
"""Of the calls and pushes; with fewer there is no figure."""
CLI_ERRORS = Bound("soak.cli_errors", "%", 1)
LOST = Bound("soak.lost", "count", 0)
DOUBLED = Bound("soak.doubled", "count", 0)
BOUNDS = (CLI_ERRORS, LOST, DOUBLED)


@dataclass(frozen=True)
class Soak:
    """How long it goes on, and what happens in that time."""

    hours: float = 1.0

    @property
    def seconds(self) -> float:
        return self.hours * HOUR

    @property
    def pushes(self) -> int:
        return round(self.hours * PUSHES)

    @property
    def calls(self) -> int:
        return round(self.hours * CALLS)


def measure(folder: Path, _: frozenset[str], soak: Soak = Soak()) -> list[Figure]:
    """Load, kill, let it settle, and count."""
    needs("nats-server", "docker-registry", "podman", "buildah", "git", "syft", "busybox")
    seed = secrets.randbits(32)
    with _installed(folder / "home") as at:
        pushes, sampler = Pushes(at, folder / "sources"), Sampler(at)
        calls = Calls(at, pushes, folder / "person", random.Random(seed))  # noqa: S311 - no secret is made of it
        killer = Killer(at, random.Random(seed))  # noqa: S311
        pushes.first()
        begun(at, pushes)
        _loaded(soak, pushes, calls, killer, sampler)
        calls.resume()
        pushes.last()
        account = settled(at, pushes)
        detail = {"hours": soak.hours, "seed": seed, "kills": killer.told(), "pushes": pushes.told()}
        return _figures(soak, calls, account, detail | {"account": account.told(), "over_time": sampler.told()})


def _figures(soak: Soak, calls: Calls, account: Account, detail: dict[str, Any]) -> list[Figure]:
    made, pushed = len(calls.made), account.pushed
    short = [f"only {done} of {of} {what}" for what, done, of in (("calls", made, soak.calls),
             ("pushes", pushed, soak.pushes)) if done < of * ENOUGH]  # fmt: skip
    why = {"unmeasured": "; ".join(short)} if short else {}
    values = (100 * len(calls.errors) / max(made, 1), len(account.lost), len(account.doubled))
    details = (calls.told(), detail, {"doubled": account.doubled[:20]})
    return [
        Figure(bound, None if short else float(value), n, why | told)
        for bound, value, n, told in zip(BOUNDS, values, (made, pushed, pushed), details, strict=True)
    ]


@contextlib.contextmanager
def _installed(home: Path) -> Iterator[Addresses]:
    """Everything, as ``enclii up -d`` starts it with its defaults; nothing of it is left."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ENCLII_")}
    try:
        at = platform.up(home, environ=environ | {"PATH": SEARCH_PATH})
        if waiting := platform.not_ready(home, limit=READY):
            raise Unavailable(f"not ready: {', '.join(waiting)}", reason="not_ready")
        yield at
    finally:
        platform.down(home, purge=True)


def _loaded(soak: Soak, pushes: Pushes, calls: Calls, killer: Killer, sampler: Sampler) -> None:
    """All at once, until everything was pushed and asked; then nothing dies any more."""
    ended = threading.Event()
    load = [*pushes.threads(soak.pushes, soak.seconds, ended), *calls.threads(soak.calls, soak.seconds, ended)]
    beside = [killer.thread(soak.seconds, ended), sampler.thread(soak.seconds, ended)]
    for thread in (*load, *beside):
        thread.start()
    try:
        for thread in load:
            thread.join()
    finally:
        ended.set()
        for thread in (*load, *beside):
            thread.join()


FAMILY = Family(BOUNDS, measure)
