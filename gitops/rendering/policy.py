"""What the cluster may do to a service and who may talk to it: account, network, disruptions, autoscaling."""

from __future__ import annotations

from gitops.layout import Place
from gitops.rendering.identity import Manifest, labels, manifest, serving
from pipeline.servicefile import Scale

METADATA_V4 = "169.254.0.0/16"
METADATA_V6 = "fd00:ec2::254/128"


def service_account(place: Place, pull_secret: str = "") -> Manifest:
    """An account of its own that holds no right and whose token no pod gets; its pods pull by the Secret, if any."""
    pulls: Manifest = {"imagePullSecrets": [{"name": pull_secret}]} if pull_secret else {}
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": place.service, "labels": labels(place)},
        "automountServiceAccountToken": False,
        **pulls,
    }


def network_policy(port: int | None, place: Place) -> Manifest:
    """In: the one port. Out: everything but link-local addresses, where clouds hand out credentials; and DNS.

    DNS is named by itself because a node's own DNS cache listens on a link-local address.
    """
    dns = [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]
    anywhere = [
        {"ipBlock": {"cidr": "0.0.0.0/0", "except": [METADATA_V4]}},
        {"ipBlock": {"cidr": "::/0", "except": [METADATA_V6]}},
    ]
    spec = {
        "podSelector": {"matchLabels": serving(place)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": [{"protocol": "TCP", "port": port}]}] if port is not None else [],
        "egress": [{"ports": dns}, {"to": anywhere}],
    }
    return manifest("networking.k8s.io/v1", "NetworkPolicy", place, spec)


def disruption_budget(place: Place) -> Manifest:
    """A drained node takes one replica at a time; a pod that is not healthy anyway never blocks the drain."""
    spec = {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": serving(place)},
    }
    return manifest("policy/v1", "PodDisruptionBudget", place, spec)


def autoscaler(scale: Scale, place: Place) -> Manifest:
    """Between ``min`` and ``max`` replicas, by the CPU that they use of what they asked for."""
    target = {"type": "Utilization", "averageUtilization": scale.cpu}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": place.service},
        "minReplicas": scale.min,
        "maxReplicas": scale.max,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
    }
    return manifest("autoscaling/v2", "HorizontalPodAutoscaler", place, spec)
