"""From a config push to pods by Argo CD, against ``kubectl apply`` of the same; and what a rollback takes.

Two releases of one service with three replicas take turns: each turn is a rollback, which is a config commit.
"""

from __future__ import annotations

import json
import statistics
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.bench.figures import Bound, Family, Figure, median_of
from tests.bench.story import Moves, followed_moves
from tests.bench_cluster.watching import Watch, rolled_out, synced, watched
from tests.support import argocd
from tests.support.cluster_story import Story, connected
from tests.support.kubernetes import found, kubectl
from tests.support.line import eventually

TURNS = 6
SYNCED = Bound("cluster.argocd_synced", "s", 2.0)
OVER = Bound("cluster.over_apply_argocd", "s", 1.5)
ROLLBACK = Bound("cluster.rollback", "s", 10.0)
ORPHANS = '{"metadata": {"finalizers": null}}'
SERVICE = "services:\n  web:\n    port: 8080\n    health: /index.html\n    replicas: 3\n"


@dataclass
class Turn:
    """One rollback: seconds from the command, and from the push of its config commit."""

    rollback: float
    pushed_to_synced: float
    pushed_to_ready: float


def measure(folder: Path, _: frozenset[str]) -> list[Figure]:
    """All three, from the same rollbacks."""
    with connected(folder, "argocd") as story:
        (story.shop / "enclii.yaml").write_text(SERVICE)
        images = [_deployed(story, "one\n", "v1"), _deployed(story, "two\n", "v2")]
        turns = _turns(story, images)
        story.line.kill("syncer")
        name = f"{story.name}.production.web"
        kubectl("-n", argocd.NAMESPACE, "patch", "application", name, "--type=merge", "-p", ORPHANS)
        kubectl("-n", argocd.NAMESPACE, "delete", "application", name)
        applied = _applied(story, images)
    rollbacks = sorted(turn.rollback for turn in turns)
    p95 = rollbacks[min(len(rollbacks) - 1, round(0.95 * len(rollbacks)))]
    return [
        median_of(SYNCED, [turn.pushed_to_synced for turn in turns]),
        median_of(OVER, [turn.pushed_to_ready - applied for turn in turns], kubectl_apply=round(applied, 3)),
        Figure(ROLLBACK, p95, len(turns), {"runs": [round(one, 3) for one in rollbacks]}),
    ]


FAMILY = Family((SYNCED, OVER, ROLLBACK), measure)


def _turns(story: Story, images: list[str]) -> list[Turn]:
    config = Moves(story.line.home / "githost/repositories/enclii/config.git/refs/heads/main")
    with (
        followed_moves(config),
        watched(story.namespace, "deployment", "web") as deployment,
        watched(argocd.NAMESPACE, "application", f"{story.name}.production.web") as application,
    ):
        return [_turn(story, config, deployment, application, images, number) for number in range(TURNS)]


def _deployed(story: Story, page: str, version: str) -> str:
    story.push(page)
    eventually(partial(story.runs, version), what=f"{version} is live", limit=120)
    return str(found(story.namespace, "deployment", "web")["spec"]["template"]["spec"]["containers"][0]["image"])


def _turn(story: Story, config: Moves, deployment: Watch, application: Watch, images: list[str], number: int) -> Turn:
    """Go back to the release that is not live; the next begins when Enclii says that it runs."""
    began = time.monotonic()
    place = {"project": story.name, "environment": "production", "service": "web"}
    story.line.api("/v1/rollbacks", {**place, "to": number % 2 + 1})
    pushed = float(eventually(lambda: config.after(began), what="the config commit"))
    commit = config.seen[-1][1]
    ready = deployment.first(rolled_out(images[number % 2]), began)
    told = application.first(synced(commit), began)
    eventually(partial(story.runs, f"v{number % 2 + 1}"), what="it runs")
    return Turn(ready - began, told - pushed, ready - pushed)


def _applied(story: Story, images: list[str]) -> float:
    """The median of ``kubectl apply`` → ready of the same change, with nobody else at work on it."""
    document = found(story.namespace, "deployment", "web")
    for key in ("managedFields", "resourceVersion", "uid", "creationTimestamp", "generation"):
        document["metadata"].pop(key, None)
    document.pop("status", None)
    times = []
    with watched(story.namespace, "deployment", "web") as deployment:
        for number in range(TURNS):
            image = images[number % 2]
            document["spec"]["template"]["spec"]["containers"][0]["image"] = image
            began = time.monotonic()
            kubectl(
                "-n",
                story.namespace,
                "apply",
                "--server-side",
                "--force-conflicts",
                "-f",
                "-",
                stdin=json.dumps(document),
            )
            times.append(deployment.first(rolled_out(image), began) - began)
    return statistics.median(times)
