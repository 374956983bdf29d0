"""``cluster.over_apply_own``: what our own syncer adds between a config push and ready pods, against ``kubectl apply``.

The same manifests live twice on the cluster: once behind the config repository, once applied by hand in a namespace
beside. Both get the same change in turns, so that what pods need to start falls out of the difference.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.figures import Bound, Family, Figure
from tests.support import kube
from tests.support.components import needs
from tests.support.kubernetes import found, kubectl, restricted_namespace
from tests.support.line import WRITE, eventually, git, running_line, sample

ROUNDS = 7
LIMIT = 60.0
OVER = Bound("cluster.over_apply_own", "s", 0.5)
PLACE = "over/production/web"
FILES = ("serviceaccount.yaml", "networkpolicy.yaml", "deployment.yaml", "service.yaml", "disruptionbudget.yaml")
MARK = "bench.example/round"


def measure(folder: Path, _: frozenset[str]) -> list[Figure]:
    """Roll the same change out both ways, in turns."""
    needs("kubernetes", "kubectl")
    home = folder / "home"
    home.mkdir()
    (home / "clusters.yaml").write_text(json.dumps({"kit": {"kubeconfig": str(kube.kubeconfig())}}))
    with running_line(home, {"CLUSTER": "kit"}) as line, restricted_namespace("over") as beside:
        try:
            sample(folder / "over", "one\n")
            git("push", line.url("over/over"), "main", cwd=folder / "over")
            eventually(lambda: ready("over-production", ""), what="the release is live")
            clone = folder / "config"
            git("clone", "-q", line.url("enclii/config", WRITE), str(clone), cwd=folder)
            apply(clone, beside)
            eventually(lambda: ready(beside, ""), what="the copy is live")
            pushed, applied = [], []
            for number in range(ROUNDS):
                change(clone, str(number))
                git("commit", "-q", "-am", f"round {number}", cwd=clone)
                pushed.append(took(lambda: git("push", "-q", "origin", "HEAD", cwd=clone), "over-production", number))
                applied.append(took(lambda: apply(clone, beside), beside, number))
        finally:
            kubectl("delete", "namespaces", "-l", f"enclii.dev/instance={line.instance}", "--wait=false")
    detail = {"push_to_ready": rounded(pushed), "apply_to_ready": rounded(applied)}
    return [Figure(OVER, statistics.median(pushed) - statistics.median(applied), ROUNDS, detail)]


def change(clone: Path, value: str) -> None:
    """Another annotation on the pods: everything starts anew, and nothing else differs."""
    path = clone / PLACE / "deployment.yaml"
    lines = [line for line in path.read_text().splitlines() if MARK not in line]
    at = max(number for number, line in enumerate(lines) if line.strip().startswith("enclii.dev/commit:"))
    indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
    path.write_text("\n".join([*lines[: at + 1], f'{indent}{MARK}: "{value}"', *lines[at + 1 :]]) + "\n")


def apply(clone: Path, namespace: str) -> None:
    files = [word for name in FILES if (clone / PLACE / name).is_file() for word in ("-f", str(clone / PLACE / name))]
    kubectl("-n", namespace, "apply", *files)


def took(begin: Callable[[], object], namespace: str, number: int) -> float:
    """Seconds from the command until every pod of the new kind is ready."""
    began = time.monotonic()
    begin()
    eventually(lambda: ready(namespace, str(number)), limit=LIMIT, what=f"round {number} in {namespace}")
    return time.monotonic() - began


def ready(namespace: str, value: str) -> bool:
    items = found(namespace, "deployments")["items"]
    if not items:
        return False
    one = items[0]
    annotations = one["spec"]["template"]["metadata"].get("annotations", {})
    status, wanted = one.get("status", {}), one["spec"]["replicas"]
    return (
        annotations.get(MARK, "") == value
        and status.get("observedGeneration", 0) >= one["metadata"]["generation"]
        and status.get("updatedReplicas") == wanted == status.get("availableReplicas") == status.get("replicas")
    )


def rounded(values: list[float]) -> list[float]:
    return [round(value, 2) for value in values]


FAMILY = Family((OVER,), measure)
