"""Kubernetes keeps the cluster contract, on the kit's real cluster, with real images from a real registry."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.cluster_contract import *  # noqa: F403 - the contract's tests are collected here
from tests.contract.exec_contract import *  # noqa: F403
from tests.support import kube
from tests.support.kube import KubernetesWorld


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubernetesWorld]:
    with kube.a_world(tmp_path_factory.mktemp("kubernetes")) as made:
        yield made
