"""``cluster``, ``namespace``, ``pull_secret`` and ``drift`` of an environment: where and how its services run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, cast

from gitops.fields import PROJECT
from pipeline import names
from pipeline.errors import EncliiError

KEYS = frozenset({"cluster", "namespace", "pull_secret", "drift"})
Drift = Literal["heal", "keep"]
RESERVED = frozenset({"argocd", "enclii", "flux-system"})
_NAMESPACE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_SECRET = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")


def read(fields: Mapping[str, Any], where: str) -> tuple[str, str, Drift]:
    """Cluster, namespace and what drift means there; an empty name stands for the default. Raises Invalid."""
    cluster, namespace = fields.get("cluster", ""), fields.get("namespace", "")
    try:
        if cluster != "":
            names.name(cluster, what="cluster")
    except (EncliiError, TypeError):
        raise PROJECT.wrong(f"{where}.cluster", "must be the name of a cluster: enclii cluster list") from None
    if namespace != "" and not (isinstance(namespace, str) and _NAMESPACE.fullmatch(namespace)):
        raise PROJECT.wrong(f"{where}.namespace", "must be 1 to 63 of a-z, 0-9 and inner hyphens")
    if reserved(namespace):
        raise PROJECT.wrong(f"{where}.namespace", f"cannot be {namespace}: that is the platform's")
    drift = fields.get("drift", "heal")
    if drift not in ("heal", "keep"):
        raise PROJECT.wrong(f"{where}.drift", "must be heal or keep")
    return cluster, namespace, cast("Drift", drift)


def pull_secret(fields: Mapping[str, Any], where: str) -> str:
    """The Secret in the namespace that holds the registry's account; empty for none. Raises Invalid."""
    named = fields.get("pull_secret", "")
    if not isinstance(named, str) or (named and not _SECRET.fullmatch(named)):
        raise PROJECT.wrong(f"{where}.pull_secret", "must be the name of a Secret (kubernetes.io/dockerconfigjson)")
    return named


def reserved(namespace: str) -> bool:
    """True for the namespaces in which a cluster's own parts live: no service is ever put beside them."""
    return namespace in RESERVED or namespace.startswith("kube-")


def namespace_of(project: str, environment: str, named: str = "") -> str:
    """The namespace of an environment: the named one, else after project and environment."""
    return named or f"{project}-{environment}"
