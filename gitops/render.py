"""A service's configuration and an image become plain Kubernetes manifests, the same bytes for the same input.

Every file starts with a header line; by that line Enclii knows later that the file is its own and may be written anew.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gitops import emit
from gitops.layout import DEPLOYMENT_FILE, SERVICE_FILE, Place
from pipeline.errors import Refused
from pipeline.images import ImageRef
from pipeline.records import Release
from pipeline.servicefile import ServiceSpec

MARK = b"# Rendered by Enclii from release "
DOMAIN = "enclii.dev"


def header(number: int) -> str:
    """The first line's text; it starts as ``MARK`` says."""
    return f"Rendered by Enclii from release v{number}; changes here are overwritten. Edit enclii.yaml instead."


def is_ours(data: bytes) -> bool:
    """True for a file that Enclii rendered and nobody took over by removing the header."""
    return data.startswith(MARK)


def render(release: Release, place: Place) -> dict[str, bytes]:
    """The files of ``release`` at ``place``. Raises Refused for what cannot be honoured yet, Invalid."""
    spec = msgspec.json.decode(release.spec, type=ServiceSpec).for_environment(place.environment)
    if spec.secrets:
        raise Refused(
            f"{place.service} asks for secrets ({', '.join(spec.secrets)}), which cannot be set yet",
            reason="secrets_not_available",
        )
    ImageRef.parse(release.image)
    text = header(release.number)
    files = {DEPLOYMENT_FILE: emit.document(_deployment(spec, release, place), header=text)}
    if spec.port is not None:
        files[SERVICE_FILE] = emit.document(_service(spec.port, place), header=text)
    return files


def _labels(place: Place) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": place.service,
        "app.kubernetes.io/part-of": place.project,
        "app.kubernetes.io/managed-by": "enclii",
        f"{DOMAIN}/project": place.project,
        f"{DOMAIN}/environment": place.environment,
        f"{DOMAIN}/service": place.service,
    }


def _selector(place: Place) -> dict[str, str]:
    """Never more than this: a Deployment's selector cannot be changed later."""
    return {
        f"{DOMAIN}/project": place.project,
        f"{DOMAIN}/environment": place.environment,
        f"{DOMAIN}/service": place.service,
    }


def _deployment(spec: ServiceSpec, release: Release, place: Place) -> dict[str, Any]:
    annotations = {
        f"{DOMAIN}/release": release.id,
        f"{DOMAIN}/source": release.source_url,
        f"{DOMAIN}/commit": release.sha,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": place.service, "labels": _labels(place), "annotations": annotations},
        "spec": {
            "replicas": spec.replicas,
            "selector": {"matchLabels": _selector(place)},
            "template": {
                "metadata": {"labels": _labels(place), "annotations": annotations},
                "spec": {"automountServiceAccountToken": False, "containers": [_container(spec, release, place)]},
            },
        },
    }


def _container(spec: ServiceSpec, release: Release, place: Place) -> dict[str, Any]:
    container: dict[str, Any] = {"name": place.service, "image": release.image}
    if spec.command:
        container["command"] = list(spec.command)
    if spec.env:
        container["env"] = [{"name": key, "value": spec.env[key]} for key in sorted(spec.env)]
    if spec.port is not None:
        container["ports"] = [{"name": "http", "containerPort": spec.port}]
        if spec.health:
            container["readinessProbe"] = {"httpGet": {"path": spec.health, "port": spec.port}}
    if quantities := _quantities(spec):
        container["resources"] = {"requests": quantities, "limits": dict(quantities)}
    container["securityContext"] = {"allowPrivilegeEscalation": False}
    return container


def _quantities(spec: ServiceSpec) -> dict[str, str]:
    asked = {"cpu": spec.resources.cpu, "memory": spec.resources.memory}
    return {key: value for key, value in asked.items() if value}


def _service(port: int, place: Place) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": place.service, "labels": _labels(place)},
        "spec": {
            "selector": _selector(place),
            "ports": [{"name": "http", "port": port, "targetPort": port}],
        },
    }
