"""Kubernetes keeps the cluster contract, on the kit's real cluster, with real images from a real registry.

The adapter has the rights that ``manifests/rbac`` gives and no others: all that it does in the contract is allowed.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gitops.clusters.kube_login import Access
from tests.contract.cluster_contract import *  # noqa: F403 - the contract's tests are collected here
from tests.contract.exec_contract import *  # noqa: F403
from tests.support import kube
from tests.support.kube import KubernetesWorld


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubernetesWorld]:
    folder = tmp_path_factory.mktemp("kubernetes")
    with kube.shipped_rights() as syncer:
        access = Access(kube.config(folder, token=syncer.token))
        with kube.a_world(folder, access=access) as made:
            yield made
