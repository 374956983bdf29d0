"""What a preview has otherwise than an environment: less, and behind a wall.

It gets the secrets of the previews' own scope and no others, a fork gets none; no volume of somebody else's; one
replica; a share of the machine. Its network lets in what asks for it by its port and lets out to its own services.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gitops.layout import Place
from gitops.rendering.identity import Manifest, manifest, selector
from gitops.rendering.policy import METADATA_V4, METADATA_V6
from gitops.rendering.surroundings import Shared, Surroundings
from pipeline.previews import PreviewRef
from pipeline.servicefile import Resources, ServiceSpec

CPU, MEMORY = "500m", "256Mi"
PRIVATE_V4 = ("10.0.0.0/8", "100.64.0.0/10", METADATA_V4, "172.16.0.0/12", "192.168.0.0/16")
PRIVATE_V6 = ("fc00::/7", "fe80::/10")
assert METADATA_V6.startswith("fd")  # which is within fc00::/7


def fitted(spec: ServiceSpec, place: Place, ref: PreviewRef, around: Surroundings) -> tuple[ServiceSpec, Surroundings]:
    """The service and its surroundings as the preview has them."""
    given = {} if ref.fork else {name: around.secrets[name] for name in spec.secrets if name in around.secrets}
    own = msgspec.structs.replace(
        spec, secrets=tuple(given), external_secrets={}, existing_secrets={}, volumes={}, scale=None,
        replicas=min(spec.replicas, 1),
        resources=Resources(cpu=spec.resources.cpu or CPU, memory=spec.resources.memory or MEMORY),
        env={**{one.variable: one.url for one in shared_with(ref, around)}, **spec.env},
    )  # fmt: skip
    hosts = {place.service: (ref.host(place.service),)} if spec.port is not None else {}
    domains = msgspec.structs.replace(around.domains, hosts=hosts)
    shared = shared_with(ref, around)
    return own, Surroundings(domains, given, around.replicas, around.restarted_at, shared=shared)


def shared_with(ref: PreviewRef, around: Surroundings) -> tuple[Shared, ...]:
    """What it may reach beyond its wall; a fork nothing."""
    return () if ref.fork else around.shared


def deny_all(place: Place) -> Manifest:
    """The wall around the whole namespace: a pod that no other policy speaks of reaches nobody and is not reached."""
    found = manifest(
        "networking.k8s.io/v1", "NetworkPolicy", place, {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    )
    return {**found, "metadata": {**found["metadata"], "name": f"{place.service}-deny"}}


def network_policy(port: int | None, place: Place, *, internet: bool, shared: Sequence[Shared] = ()) -> Manifest:
    """In: the one port. Out: DNS, the preview's own services, and each of the base environment's that is shared by its
    port alone; with ``internet`` public addresses too.
    """
    dns = {"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]}
    public = [
        {"ipBlock": {"cidr": "0.0.0.0/0", "except": list(PRIVATE_V4)}},
        {"ipBlock": {"cidr": "::/0", "except": list(PRIVATE_V6)}},
    ]
    spec = {
        "podSelector": {"matchLabels": selector(place)},  # its release job is behind the same wall
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": [{"protocol": "TCP", "port": port}]}] if port is not None else [],
        "egress": [
            dns,
            {"to": [{"podSelector": {}}]},
            *map(_way_to, shared),
            *([{"to": public}] if internet else []),
        ],
    }
    return manifest("networking.k8s.io/v1", "NetworkPolicy", place, spec)


def _way_to(one: Shared) -> Manifest:
    there = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": one.namespace}},
        "podSelector": {"matchLabels": selector(Place(one.project, one.environment, one.service))},
    }
    return {"to": [there], "ports": [{"protocol": "TCP", "port": one.port}]}


def quota(place: Place) -> Manifest:
    """The most that the whole namespace may take; each service brings the same one, so that none is without."""
    hard = {
        "pods": "20", "requests.cpu": "4", "requests.memory": "4Gi", "limits.memory": "8Gi",
        "services.loadbalancers": "0", "services.nodeports": "0", "persistentvolumeclaims": "0",
    }  # fmt: skip
    return manifest("v1", "ResourceQuota", place, {"hard": hard})


def limits(place: Place) -> Manifest:
    """What a container gets that says nothing: with a quota it could not start otherwise."""
    share = {"cpu": CPU, "memory": MEMORY}
    spec = {"limits": [{"type": "Container", "default": share, "defaultRequest": {"cpu": "50m", "memory": "64Mi"}}]}
    return manifest("v1", "LimitRange", place, spec)
