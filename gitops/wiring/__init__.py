"""What a cluster's own sync tool is told of the config repository: documents for Argo CD and for Flux.

One service directory is one unit of sync, so that one commit refreshes one unit, one broken directory fails alone, and
removing a service removes exactly its own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

from gitops.layout import Place
from pipeline.names import token

Document = Mapping[str, Any]
Tool = Literal["plain", "kustomize", "helm"]
DOMAIN = "enclii.dev"
LABEL_LIMIT = 63
"""Both tools write a unit's name into a label of all that they apply."""


@dataclass(frozen=True)
class Source:
    """The config repository as the sync tool reaches it, without any credential in the address."""

    url: str
    branch: str = "main"


@dataclass(frozen=True)
class Unit:
    """One service directory and the namespace that it is synced to."""

    place: Place
    namespace: str
    tool: Tool = "plain"

    @property
    def name(self) -> str:
        """``shop.production.web``: names hold no dots, so no two units share it; a long one ends in a hash."""
        joined = ".".join(self.place)
        return joined if len(joined) <= LABEL_LIMIT else f"{self.place.service[:36]}.{token(*self.place)}"

    @property
    def labels(self) -> dict[str, str]:
        return {
            "app.kubernetes.io/managed-by": "enclii",
            f"{DOMAIN}/project": self.place.project,
            f"{DOMAIN}/environment": self.place.environment,
            f"{DOMAIN}/service": self.place.service,
        }


def bare_address(url: str) -> str:
    """The address without a login, which would be a secret in git; the user of an ssh address is none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return url if parts.scheme == "ssh" else urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def tool_of(filenames: Collection[str]) -> Tool:
    """Which tool renders a directory, by the file that every such directory has."""
    if "Chart.yaml" in filenames:
        return "helm"
    kustomizations = ("kustomization.yaml", "kustomization.yml", "Kustomization")
    return "kustomize" if any(name in filenames for name in kustomizations) else "plain"


def namespace(name: str, *, pod_security: str = "restricted", instance: str = "") -> dict[str, Any]:
    """The namespace of one environment; pods that want more than ``pod_security`` are refused there."""
    labels = {"app.kubernetes.io/managed-by": "enclii", **pod_security_labels(pod_security)}
    if instance:
        labels[f"{DOMAIN}/instance"] = instance
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def pod_security_labels(level: str = "restricted") -> dict[str, str]:
    """What the API server enforces in a namespace, and warns of."""
    return {f"pod-security.kubernetes.io/{mode}": level for mode in ("enforce", "warn")}
