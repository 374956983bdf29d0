"""``platform.failover``: a leader is killed (-9), a rollback is asked for at once, and the deployment goes on.

On three NATS servers, with two committers and two syncers under leases of two seconds. A deployment has gone on when
the service is at the other release; the time is that from the kill, the longest of all. Beside it: as long as the same
takes when nobody dies.
"""

from __future__ import annotations

import time
import urllib.error
import uuid
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

from tests.bench.figures import Bound, Family, Figure
from tests.support.line import Line, commit, eventually, git, sample
from tests.support.nats_cluster import NatsCluster, running_nats_cluster
from tests.support.registry import running_registry

FAILOVER = Bound("platform.failover", "s", 5)
ROUNDS = 3
LIMIT = 120.0
REPLICAS = 2  # of the sample
OTHER = {"v1": 2, "v2": 1}  # by number: of what was taken back already, the last healthy one is never meant


def measure(folder: Path, _: frozenset[str]) -> list[Figure]:
    """Kill each leader a few times."""
    with running_nats_cluster(folder / "nats") as nats, running_registry(folder / "registry") as registry:
        line = Line(folder / "home", nats.url, registry, nats.settings | {"LEASE": "2s"})
        line.home.mkdir()
        try:
            return [_measured(line, nats, folder)]
        finally:
            line.end()


def _measured(line: Line, nats: NatsCluster, folder: Path) -> Figure:
    line.start()
    eventually(line.listens, what="all processes listen")
    sample(folder / "shop", "page 1\n")
    for number in (1, 2):
        if number > 1:
            (folder / "shop/index.html").write_text(f"page {number}\n")
            commit(folder / "shop", f"Page {number}")
        git("push", line.url("shop/shop"), "main", cwd=folder / "shop")
        eventually(lambda n=number: _now(line).get("version") == f"v{n}" and _runs(line), limit=LIMIT, what="it runs")
    took: dict[str, list[float]] = {"committer": [], "syncer": [], "nats": []}
    undisturbed = [_after(line, lambda: None) for _ in range(ROUNDS)]
    for name in ("committer", "syncer"):
        kinds = (name, line.start_beside(name))
        for turn in range(ROUNDS):
            leader = kinds[turn % 2]
            took[name].append(_after(line, lambda one=leader: line.kill(one)))
            (line.start_beside if leader != name else line.start)(name)
            eventually(lambda one=leader: line.ops(one, "/readyz")[0] == 200, what=f"{leader} waits for its turn")
    for _ in range(ROUNDS):
        dead = nats.leader("PIPE")
        took["nats"].append(_after(line, lambda one=dead: nats.kill(one)))
        nats.start(dead)
    every = [seconds for some in took.values() for seconds in some]
    detail = {name: [round(one, 2) for one in some] for name, some in (took | {"undisturbed": undisturbed}).items()}
    return Figure(FAILOVER, max(every), len(every), detail)


def _after(line: Line, kill: Callable[[], object]) -> float:
    eventually(lambda: _runs(line) and _settled(line), limit=LIMIT, what="all is quiet")
    before = _now(line)["version"]
    kill()
    begun = time.monotonic()
    wish = {"project": "shop", "environment": "production", "service": "web", "to": OTHER[before], "hold": False}
    key = f"k-{uuid.uuid4()}"
    eventually(lambda: _asked(line, wish, key), limit=LIMIT, what="the rollback is taken")
    eventually(lambda: _gone_on(line, before), limit=LIMIT, what="the deployment goes on")
    return time.monotonic() - begun


def _asked(line: Line, wish: dict[str, Any], key: str) -> bool:
    """True once it is taken; what was not answered, or with 503, is asked again under its key, as the CLI does."""
    try:
        line.api("/v1/rollbacks", wish, key=key)
    except urllib.error.HTTPError as error:
        if error.code != HTTPStatus.SERVICE_UNAVAILABLE:
            raise RuntimeError(f"{error.code}: {error.read().decode()}") from None
        return False
    return True


def _gone_on(line: Line, before: str) -> bool:
    now = _now(line)
    return now.get("version") != before and now.get("status") in ("progressing", "running")


def _runs(line: Line) -> bool:
    return _now(line).get("status") == "running"


def _settled(line: Line) -> bool:
    """Whether the pods of the release before are gone: ending them is no part of what follows."""
    label = f"label=enclii.dev/instance={line.instance}"
    return len(line.podman("pod", "ps", "-q", "--filter", label)) == REPLICAS


def _now(line: Line) -> dict[str, Any]:
    services = line.api("/v1/projects/shop/services?environment=production&include_status=true")["services"]
    return dict(services[0]["current_deployment"] or {}) if services else {}


FAMILY = Family((FAILOVER,), measure)
