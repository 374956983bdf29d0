"""The kit's real Argo CD for a test: a project of the test's own on it, and no Application left afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from gitops.clusters.argocd import Access
from gitops.wiring import Source
from gitops.wiring.argocd import Site, project
from tests.support.components import needs
from tests.support.kubernetes import kubectl

NAMESPACE = "argocd"
URL = "http://127.0.0.1:18085"
SECRET = "kit"


def access(folder: Path) -> Access:
    """How Argo CD is told here; the shared secret is written into ``folder``."""
    file = folder / "argocd-webhook"
    file.write_text(SECRET)
    return Access(webhook=f"{URL}/api/webhook", secret_file=file)


def name() -> str:
    """A name for a project of one test."""
    needs("argo-cd")
    return f"t{uuid4().hex[:8]}"


@contextmanager
def a_project(source: Source) -> Iterator[Site]:
    """An AppProject for one config repository; it goes with all Applications that are in it."""
    site = Site(namespace=NAMESPACE, project=name())
    kubectl("apply", "-f", "-", stdin=json.dumps(project(site, source)))
    try:
        yield site
    finally:
        remove(site.project)


def remove(project: str) -> None:
    """The project with its Applications, without their finalizers: the namespaces of what they applied go anyway."""
    found = json.loads(kubectl("-n", NAMESPACE, "get", "applications", "-o", "json"))["items"]
    for one in [one["metadata"]["name"] for one in found if one["spec"]["project"] == project]:
        patch = '{"metadata": {"finalizers": null}}'
        kubectl("-n", NAMESPACE, "patch", "application", one, "--type=merge", "-p", patch, check=False)
        kubectl("-n", NAMESPACE, "delete", "application", one, "--wait=false", check=False)
    kubectl("-n", NAMESPACE, "delete", "appproject", project, "--wait=false", check=False)
