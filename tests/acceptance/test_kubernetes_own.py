"""The same story on a real Kubernetes that has no sync tool but ours."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.cluster_story import Story, connected, tell
from tests.support.kubernetes import kubectl
from tests.support.line import eventually


def test_a_push_is_live_a_broken_one_degrades_and_a_rollback_is_live_again(tmp_path: Path) -> None:
    with connected(tmp_path, "own") as story:
        tell(story)


def said(story: Story) -> tuple[str, str]:
    """Status and health of the service, as everybody reads them."""
    services = story.line.api(f"/v1/status?project={story.name}")["services"]
    one = next(one for one in services if one["environment"] == "production")
    return one["status"], one["health"]


def test_in_a_namespace_that_is_being_deleted_nothing_is_called_running(tmp_path: Path) -> None:
    with connected(tmp_path, "own") as story:
        story.push("one\n")
        eventually(lambda: story.runs("v1"), what="v1 is live")
        held = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "held", "finalizers": ["enclii.dev/test"]},
        }
        kubectl("-n", story.namespace, "create", "-f", "-", stdin=json.dumps(held))
        try:
            kubectl("delete", "namespace", story.namespace, "--wait=false")
            eventually(lambda: said(story)[0] != "running", limit=120, what="no pod is ready, and it says so")
            eventually(lambda: said(story) == ("degraded", "unhealthy"), limit=120, what="it cannot be mended yet")
        finally:
            free = json.dumps({"metadata": {"finalizers": None}})
            kubectl("-n", story.namespace, "patch", "configmap", "held", "--type=merge", "-p", free)
        eventually(lambda: story.runs("v1"), limit=120, what="v1 is live in a new namespace")
