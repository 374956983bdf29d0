"""How a cluster is entered: by a kubeconfig, or by the pod's own account; the one importer of Kubernetes' client."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gitops.clusters import kube_plugin
from gitops.clusters.kube_api import Login


@dataclass(frozen=True)
class Access:
    """How to reach a cluster; ``in_cluster`` takes the pod's own service account.

    ``environment`` is what a kubeconfig's plugin sees.
    """

    kubeconfig: Path | None = None
    context: str | None = None
    in_cluster: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


def login(access: Access) -> Login:
    """Reads the credentials anew at each call: files, tokens and what an exec plugin answers."""

    async def fresh() -> Any:
        from kubernetes.aio import client, config

        found = client.Configuration()
        found.retries = 0
        found.connection_pool_maxsize = 0  # every watch and every followed log holds a connection
        if access.in_cluster:
            config.load_incluster_config(client_configuration=found)  # type: ignore[no-untyped-call]
        else:
            await _from_kubeconfig(access, found)
        made = client.ApiClient(found)
        made.user_agent = "enclii"
        return made

    return fresh


async def _from_kubeconfig(access: Access, found: Any) -> None:
    from kubernetes.aio.config.kube_config import KubeConfigLoader

    assert access.kubeconfig is not None
    folder = access.kubeconfig.parent
    read = await asyncio.to_thread(_read, access.kubeconfig)
    answered = await kube_plugin.answered(read, access.context, folder=folder, environment=access.environment)
    loader = KubeConfigLoader(  # type: ignore[no-untyped-call]
        config_dict=answered or read, active_context=access.context, config_base_path=str(folder)
    )
    await loader.load_and_set(found)  # type: ignore[no-untyped-call]


def _read(file: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML

    return dict(YAML(typ="safe", pure=True).load(file.read_bytes()))
