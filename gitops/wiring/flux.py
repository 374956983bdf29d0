"""Flux's documents: the config repository, one Kustomization a service, the namespaces, and the Receiver to poke.

Written by Flux's published schemas (source v1, kustomize v1, notification v1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gitops.gate.policyfile import POLICY_FILE
from gitops.layout import APART, PROJECT_FILE
from gitops.wiring import Document, Source, Unit

SOURCE = "source.toolkit.fluxcd.io/v1"
KUSTOMIZE = "kustomize.toolkit.fluxcd.io/v1"
NOTIFICATION = "notification.toolkit.fluxcd.io/v1"
MANAGED: Mapping[str, str] = {"app.kubernetes.io/managed-by": "enclii"}


@dataclass(frozen=True)
class Site:
    """One Flux: its namespace, and the names of what is ours in it; empty ``credentials``: anybody may fetch."""

    namespace: str = "flux-system"
    name: str = "enclii"
    credentials: str = "enclii-config"
    token: str = "enclii-receiver"  # noqa: S105 - the name of a Secret, not what is in it


def git_repository(site: Site, source: Source) -> Document:
    """The source. ``ignore`` keeps out what is no manifest: the kustomize controller would apply every YAML file."""
    spec: dict[str, Any] = {
        "interval": "1m",
        "timeout": "30s",
        "url": source.url,
        "ref": {"branch": source.branch},
        "ignore": "\n".join([*sorted(APART), PROJECT_FILE, POLICY_FILE, ".*", "/clusters/", ""]),
    }
    if site.credentials:
        spec["secretRef"] = {"name": site.credentials}
    return _document(SOURCE, "GitRepository", site.name, site, MANAGED, spec)


def kustomization(unit: Unit, site: Site) -> Document:
    """The Kustomization of one service. Deleting it deletes what it applied.

    It does not wait for health, which Enclii measures itself: a release that never gets healthy must not stand in the
    way of the commit that takes it back.
    """
    spec = {
        "interval": "10m",
        "retryInterval": "30s",
        "timeout": "2m",
        "path": f"./{unit.place.path}",
        "prune": True,
        "wait": False,
        "deletionPolicy": "Delete",
        "targetNamespace": unit.namespace,
        "sourceRef": {"kind": "GitRepository", "name": site.name},
    }
    return _document(KUSTOMIZE, "Kustomization", unit.name, site, unit.labels, spec)


def receiver(site: Site) -> Document:
    """Where Enclii says that the branch moved; only the bearer of the token in the Secret is believed."""
    watched = {"apiVersion": SOURCE, "kind": "GitRepository", "name": site.name}
    spec = {"type": "generic-hmac", "interval": "10m", "secretRef": {"name": site.token}, "resources": [watched]}
    return _document(NOTIFICATION, "Receiver", site.name, site, MANAGED, spec)


def _document(
    group: str, kind: str, name: str, site: Site, labels: Mapping[str, str], spec: Mapping[str, Any]
) -> Document:
    metadata = {"name": name, "namespace": site.namespace, "labels": dict(labels)}
    return {"apiVersion": group, "kind": kind, "metadata": metadata, "spec": spec}
