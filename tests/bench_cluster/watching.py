"""When something became true in the cluster, by ``kubectl get --watch``: no polling, so the time is the cluster's."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.support import kube
from tests.support.components import needs

LIMIT = 60.0


class Watch:
    """Every state of one object, with the time.monotonic() at which it was heard of."""

    def __init__(self) -> None:
        self._states: list[tuple[float, dict[str, Any]]] = []
        self._more = threading.Condition()

    def hear(self, state: dict[str, Any]) -> None:
        with self._more:
            self._states.append((time.monotonic(), state))
            self._more.notify_all()

    def first(self, true: Callable[[dict[str, Any]], bool], after: float) -> float:
        """When ``true`` was first so after that moment. Raises TimeoutError."""
        with self._more:
            end = time.monotonic() + LIMIT
            while True:
                for at, state in self._states:
                    if at >= after and true(state):
                        return at
                if not self._more.wait(max(0.0, end - time.monotonic())):
                    raise TimeoutError("the cluster did not come to it")


@contextlib.contextmanager
def watched(namespace: str, kind: str, name: str) -> Iterator[Watch]:
    """Watch one object while the block runs."""
    argv = [needs("kubectl"), "-n", namespace, "get", kind, name, "--watch", "-o", "json"]
    env = {"KUBECONFIG": str(kube.kubeconfig()), "HOME": str(Path.home()), "PATH": os.environ["PATH"]}
    watch = Watch()
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True) as child:
        thread = threading.Thread(target=_read, args=(child, watch), daemon=True)
        thread.start()
        try:
            yield watch
        finally:
            child.kill()
            thread.join()


def _read(child: subprocess.Popen[str], watch: Watch) -> None:
    assert child.stdout is not None
    decoder, text = json.JSONDecoder(), ""
    for line in child.stdout:
        text += line
        if line == "}\n":
            state, _ = decoder.raw_decode(text)
            watch.hear(state)
            text = ""


def settled() -> Callable[[dict[str, Any]], bool]:
    """Whether a Deployment has every replica available in its newest form, and none of another."""

    def true(state: dict[str, Any]) -> bool:
        status, wanted = state.get("status", {}), state["spec"]["replicas"]
        counts = [status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")]
        return status.get("observedGeneration", 0) >= state["metadata"]["generation"] and counts == [wanted] * 3

    return true


def rolled_out(image: str) -> Callable[[dict[str, Any]], bool]:
    """Whether it is settled with that image."""

    def true(state: dict[str, Any]) -> bool:
        return settled()(state) and state["spec"]["template"]["spec"]["containers"][0]["image"] == image

    return true


def synced(commit: str) -> Callable[[dict[str, Any]], bool]:
    """Whether Argo CD has synced an Application to that commit."""

    def true(state: dict[str, Any]) -> bool:
        operation = state.get("status", {}).get("operationState", {})
        return operation.get("phase") == "Succeeded" and operation.get("syncResult", {}).get("revision") == commit

    return true
