"""The kit's real Kubernetes for a test: an adapter on it, requests of the test's own, and nothing left afterwards.

The cluster is started by whoever runs the tests; each test module has an instance and namespaces of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from gitops.clusters.kubernetes import Access, Kubernetes, login
from tests.support.components import needs
from tests.support.kubernetes import kubectl


def kubeconfig() -> Path:
    """The administrator's kubeconfig of the cluster; skips or fails the test when none is up."""
    return Path(needs("kubernetes"))


def adapter(
    instance: str, *, pod_security: Literal["restricted", "baseline", "privileged"] = "privileged", **more: Any
) -> Kubernetes:
    """A Kubernetes of that instance, to be closed by the caller within its loop."""
    return Kubernetes(login(Access(kubeconfig=kubeconfig())), instance=instance, pod_security=pod_security, **more)


@contextmanager
def an_instance(prefix: str) -> Iterator[str]:
    """A name for one installation; every namespace that it made is deleted afterwards."""
    instance = f"{prefix}-{uuid4().hex[:8]}"
    try:
        yield instance
    finally:
        kubectl("delete", "namespaces", "-l", f"enclii.dev/instance={instance}", "--wait=false")
