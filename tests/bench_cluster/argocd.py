"""From a config push to pods by Argo CD, against ``kubectl apply`` of the same; and what a rollback takes.

Two releases of one service with three replicas take turns: each turn is a rollback, which is a config commit. Right
after it the same change is applied by hand to a copy in a namespace beside, and what counts is each pair's difference.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.figures import Bound, Family, Figure, median_of
from tests.bench.story import Moves, followed_moves
from tests.bench_cluster.over import apply, over, rolled
from tests.bench_cluster.watching import Watch, rolled_out, synced, watched
from tests.support import argocd
from tests.support.cluster_story import Story, connected
from tests.support.kubernetes import found, kubectl, restricted_namespace
from tests.support.line import eventually, git

TURNS = 8
SYNCED = Bound("cluster.argocd_synced", "s", 2.0)
OVER = Bound("cluster.over_apply_argocd", "s", 1.5)
ROLLBACK = Bound("cluster.rollback", "s", 10.0)
SERVICE = "services:\n  web:\n    port: 8080\n    health: /index.html\n    replicas: 3\n"
BY_HAND = ("apply", "--server-side", "--force-conflicts", "-f", "-")


@dataclass
class Turn:
    """One rollback: seconds from the command, and from the push of its config commit; and the same by hand."""

    rollback: float
    pushed_to_synced: float
    pushed_to_ready: float
    applied: float


def measure(folder: Path, _: frozenset[str]) -> list[Figure]:
    """All three, from the same rollbacks."""
    with connected(folder, "argocd") as story, restricted_namespace("over") as beside:
        (story.shop / "enclii.yaml").write_text(SERVICE)
        images = [_deployed(story, "one\n", "v1"), _deployed(story, "two\n", "v2")]
        git("pull", "-q", cwd=story.config)
        apply(story.config / story.name / "production" / "web", beside)
        eventually(lambda: rolled(beside), what="the copy is live")
        turns = _turns(story, beside, images)
    rollbacks = sorted(turn.rollback for turn in turns)
    p95 = rollbacks[min(len(rollbacks) - 1, round(0.95 * len(rollbacks)))]
    return [
        median_of(SYNCED, [turn.pushed_to_synced for turn in turns]),
        over(OVER, [turn.pushed_to_ready for turn in turns], [turn.applied for turn in turns]),
        Figure(ROLLBACK, p95, len(turns), {"runs": [round(one, 3) for one in rollbacks]}),
    ]


FAMILY = Family((SYNCED, OVER, ROLLBACK), measure)


def _turns(story: Story, beside: str, images: list[str]) -> list[Turn]:
    config = Moves(story.line.home / "githost/repositories/enclii/config.git/refs/heads/main")
    document = _document(beside)
    with (
        followed_moves(config),
        watched(story.namespace, "deployment", "web") as deployment,
        watched(argocd.NAMESPACE, "application", f"{story.name}.production.web") as application,
        watched(beside, "deployment", "web") as copy,
    ):
        turns = []
        for number in range(TURNS):
            ours = _turn(story, config, deployment, application, images, number)
            turns.append(Turn(*ours, applied=_applied(beside, copy, document, images[number % 2])))
        return turns


def _deployed(story: Story, page: str, version: str) -> str:
    story.push(page)
    eventually(partial(story.runs, version), what=f"{version} is live", limit=120)
    return str(found(story.namespace, "deployment", "web")["spec"]["template"]["spec"]["containers"][0]["image"])


def _turn(
    story: Story, config: Moves, deployment: Watch, application: Watch, images: list[str], number: int
) -> tuple[float, float, float]:
    """Go back to the release that is not live; the next begins when Enclii says that it runs."""
    began = time.monotonic()
    place = {"project": story.name, "environment": "production", "service": "web"}
    story.line.api("/v1/rollbacks", {**place, "to": number % 2 + 1})
    pushed = float(eventually(lambda: config.after(began), what="the config commit"))
    commit = config.seen[-1][1]
    ready = deployment.first(rolled_out(images[number % 2]), began)
    told = application.first(synced(commit), began)
    eventually(partial(story.runs, f"v{number % 2 + 1}"), what="it runs")
    return ready - began, told - pushed, ready - pushed


def _document(namespace: str) -> dict[str, Any]:
    document: dict[str, Any] = found(namespace, "deployment", "web")
    for key in ("managedFields", "resourceVersion", "uid", "creationTimestamp", "generation"):
        document["metadata"].pop(key, None)
    document.pop("status", None)
    return document


def _applied(namespace: str, copy: Watch, document: dict[str, Any], image: str) -> float:
    """Seconds of ``kubectl apply`` → ready of the same change."""
    document["spec"]["template"]["spec"]["containers"][0]["image"] = image
    began = time.monotonic()
    kubectl("-n", namespace, *BY_HAND, stdin=json.dumps(document))
    return copy.first(rolled_out(image), began) - began
