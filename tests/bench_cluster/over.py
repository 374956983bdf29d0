"""``cluster.over_apply_own``: what our own syncer adds between a config push and ready pods, against ``kubectl apply``.

The same manifests live twice on the cluster: once behind the config repository, once applied by hand in a namespace
beside. Both get the same change, one right after the other and in changing order, and what counts is the difference of
each such pair: what pods need to start, and how busy the machine is, falls out of it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.bench.figures import Bound, Family, Figure
from tests.bench_cluster.watching import Watch, settled, watched
from tests.support.cluster_story import installed
from tests.support.kubernetes import found, kubectl, restricted_namespace
from tests.support.line import WRITE, eventually, git, sample

ROUNDS = 10
OVER = Bound("cluster.over_apply_own", "s", 0.5)
PROJECT = f"over-{uuid4().hex[:6]}"
NAMESPACE = f"{PROJECT}-production"
PLACE = f"{PROJECT}/production/web"
FILES = ("serviceaccount.yaml", "networkpolicy.yaml", "deployment.yaml", "service.yaml", "disruptionbudget.yaml")
MARK = "bench.example/round"


def measure(folder: Path, _: frozenset[str]) -> list[Figure]:
    """Roll the same change out both ways, in pairs."""
    with installed(folder / "home", "own", {"CLUSTER": "kit"}) as (line, _), restricted_namespace("over") as beside:
        sample(folder / "over", "one\n")
        git("push", line.url(f"{PROJECT}/{PROJECT}"), "main", cwd=folder / "over")
        eventually(lambda: rolled(NAMESPACE), what="the release is live")
        clone = folder / "config"
        git("clone", "-q", line.url("enclii/config", WRITE), str(clone), cwd=folder)
        apply(clone / PLACE, beside)
        eventually(lambda: rolled(beside), what="the copy is live")
        pushed, applied = _rounds(clone, beside)
    return [over(OVER, pushed, applied)]


FAMILY = Family((OVER,), measure)


def over(bound: Bound, pushed: Sequence[float], applied: Sequence[float]) -> Figure:
    """The median of what each pair differs by."""
    pairs = [ours - theirs for ours, theirs in zip(pushed, applied, strict=True)]
    detail = {"pairs": rounded(pairs), "push_to_ready": rounded(pushed), "apply_to_ready": rounded(applied)}
    return Figure(bound, statistics.median(pairs), len(pairs), detail)


def apply(directory: Path, namespace: str) -> None:
    """The manifests of a service's directory, as a person would."""
    files = [word for name in FILES if (directory / name).is_file() for word in ("-f", str(directory / name))]
    kubectl("-n", namespace, "apply", *files)


def rolled(namespace: str) -> bool:
    """Whether the one Deployment there has nothing left to do."""
    items = found(namespace, "deployments")["items"]
    return bool(items) and settled()(items[0])


def rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 2) for value in values]


def _rounds(clone: Path, beside: str) -> tuple[list[float], list[float]]:
    pushed: list[float] = []
    applied: list[float] = []
    with watched(NAMESPACE, "deployment", "web") as ours, watched(beside, "deployment", "web") as theirs:
        for number in range(ROUNDS):
            _change(clone, str(number))
            git("commit", "-q", "-am", f"round {number}", cwd=clone)
            both = [
                lambda: pushed.append(_took(lambda: git("push", "-q", "origin", "HEAD", cwd=clone), ours, number)),  # noqa: B023
                lambda: applied.append(_took(lambda: apply(clone / PLACE, beside), theirs, number)),  # noqa: B023
            ]
            for one in both if number % 2 else reversed(both):
                one()
    return pushed, applied


def _change(clone: Path, value: str) -> None:
    """Another annotation on the pods: everything starts anew, and nothing else differs."""
    path = clone / PLACE / "deployment.yaml"
    lines = [line for line in path.read_text().splitlines() if MARK not in line]
    at = max(number for number, line in enumerate(lines) if line.strip().startswith("enclii.dev/commit:"))
    indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
    path.write_text("\n".join([*lines[: at + 1], f'{indent}{MARK}: "{value}"', *lines[at + 1 :]]) + "\n")


def _took(begin: Callable[[], object], watch: Watch, number: int) -> float:
    """Seconds from the command until every pod of the new kind is ready, by the cluster's word."""
    began = time.monotonic()
    begin()
    return watch.first(_marked(str(number)), began) - began


def _marked(value: str) -> Callable[[dict[str, Any]], bool]:
    def true(state: dict[str, Any]) -> bool:
        annotations = state["spec"]["template"]["metadata"].get("annotations", {})
        return annotations.get(MARK) == value and settled()(state)

    return true
