"""The cluster that KUBECONFIG, or the kit, offers to tests: namespaces of one's own, by ``kubectl``."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.support.components import needs

KIT = Path.home() / ".cache/kit/cluster/admin.kubeconfig"
LIMIT = 120


def kubectl(*words: str, stdin: str = "", check: bool = True) -> str:
    """What it prints. Skips the test, or fails it under CI, when there is no cluster."""
    program = needs("kubectl")
    done = subprocess.run(
        [program, *words], input=stdin, env={"KUBECONFIG": str(_kubeconfig()), "HOME": str(Path.home())},
        capture_output=True, text=True, timeout=LIMIT, check=False,
    )  # fmt: skip
    assert not check or done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout if done.returncode == 0 else done.stderr


@contextlib.contextmanager
def restricted_namespace(prefix: str) -> Iterator[str]:
    """A namespace under the Pod Security Standard "restricted", gone afterwards."""
    name = f"{prefix}-{uuid4().hex[:8]}"
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    kubectl("apply", "-f", "-", stdin=json.dumps(_namespace(name, labels)))
    try:
        yield name
    finally:
        kubectl("delete", "namespace", name, "--wait=false")


@contextlib.contextmanager
def alone_on_the_cluster() -> Iterator[None]:
    """For what has one name on the whole cluster: the next process that wants it waits for its turn."""
    with _kubeconfig().open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def found(namespace: str, *words: str) -> Any:
    """What ``kubectl get`` says, as data."""
    return json.loads(kubectl("-n", namespace, "get", *words, "-o", "json"))


def _namespace(name: str, labels: Mapping[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(labels)}}


def _kubeconfig() -> Path:
    path = Path(os.environ.get("KUBECONFIG") or KIT)
    if not path.is_file():
        reason = "no Kubernetes cluster: KUBECONFIG names none"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path
