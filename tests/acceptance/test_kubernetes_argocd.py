"""The story on a real Kubernetes that a real Argo CD syncs."""

from __future__ import annotations

from pathlib import Path

from tests.support import argocd
from tests.support.cluster_story import connected, tell
from tests.support.components import needs
from tests.support.kubernetes import found


def test_a_push_is_live_by_argo_cd_a_broken_one_degrades_and_a_rollback_is_live_again(tmp_path: Path) -> None:
    needs("argo-cd")
    with connected(tmp_path, "argocd") as story:
        tell(story)

        left = [one["metadata"]["name"] for one in found(argocd.NAMESPACE, "applications")["items"]]
        assert f"{story.name}.production.web" not in left
