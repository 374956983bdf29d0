"""How a pod refers to its secrets: by name and version, never by value.

Each version is an object of its own that never changes, so that a new value is a new name in the pod and rolls out,
and a revert in git brings the old one back.
"""

from __future__ import annotations

from gitops.layout import Place
from gitops.rendering.identity import Manifest, labels
from gitops.rendering.surroundings import Surroundings
from pipeline.errors import Refused
from pipeline.servicefile import ServiceSpec

EXTERNAL_API = "external-secrets.io/v1"


def object_name(service: str, version: int) -> str:
    """The Secret that holds what was set as this version: exactly one key."""
    return f"{service}-secrets-v{version}"


def external_name(service: str) -> str:
    """The Secret that the External Secrets operator fills."""
    return f"{service}-external"


def references(spec: ServiceSpec, place: Place, around: Surroundings) -> list[Manifest]:
    """The container's ``env`` entries. Raises Refused for a name that was never set."""
    if missing := [name for name in spec.secrets if name not in around.secrets]:
        raise Refused(_missing(missing, place), reason="secret_missing")
    found = {name: (object_name(place.service, around.secrets[name]), name) for name in spec.secrets}
    found |= {name: (external_name(place.service), name) for name in spec.external_secrets}
    found |= {name: _split(spec.existing_secrets[name], name) for name in spec.existing_secrets}
    return [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": found[name][0], "key": found[name][1]}}}
        for name in sorted(found)
    ]


def external_secret(spec: ServiceSpec, place: Place) -> Manifest:
    """The ExternalSecret for what ``enclii.yaml`` says lies elsewhere, as ``store/key``."""
    stores = {name: _split(spec.external_secrets[name], name) for name in sorted(spec.external_secrets)}
    data = [
        {
            "secretKey": name,
            "remoteRef": {"key": key},
            "sourceRef": {"storeRef": {"name": store, "kind": "SecretStore"}},
        }
        for name, (store, key) in stores.items()
    ]
    name = external_name(place.service)
    spec_ = {"refreshInterval": "1h0m0s", "target": {"name": name, "creationPolicy": "Owner"}, "data": data}
    metadata = {"name": name, "labels": labels(place)}
    return {"apiVersion": EXTERNAL_API, "kind": "ExternalSecret", "metadata": metadata, "spec": spec_}


def _split(reference: str, name: str) -> tuple[str, str]:
    head, slash, rest = reference.partition("/")
    return (head, rest) if slash else (head, name)


def _missing(names: list[str], place: Place) -> str:
    where = f"-p {place.project} -e {place.environment} -s {place.service}"
    commands = "; ".join(f"enclii secret set {name} {where}" for name in names)
    return f"{place} asks for secrets that were never set: {', '.join(names)}; run: {commands}"
