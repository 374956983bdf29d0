"""The pod of a service: what it runs, as whom, how it is asked for its health, and how it ends.

Every pod passes the Pod Security Standard "restricted": no root, no capabilities, no new privileges, the runtime's
own seccomp profile. Kubernetes 1.30 or newer is needed for the ``sleep`` before the end.
"""

from __future__ import annotations

import re
from typing import Any

from gitops.layout import Place
from gitops.rendering import secrets
from gitops.rendering.identity import DOMAIN, Manifest, selector
from gitops.rendering.surroundings import Surroundings
from pipeline.records import Release
from pipeline.servicefile import Resources, ServiceSpec

DEFAULT_USER = 65532
DEFAULT_USER_MARK = f"{DOMAIN}/default-user"
DRAIN_SECONDS = 3
GRACE_SECONDS = 30
STARTUP_SECONDS = 60
UNPRIVILEGED_PORTS = {"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}
_NUMBER = re.compile(r"[1-9][0-9]{0,9}(?::[0-9]+)?")


def marks(spec: ServiceSpec, release: Release) -> dict[str, str]:
    """The annotation of a pod whose user is our choice, because neither the file nor the image names a number."""
    return {} if spec.user or _names_a_number(release.user) else {DEFAULT_USER_MARK: str(DEFAULT_USER)}


def service_pod(spec: ServiceSpec, release: Release, place: Place, around: Surroundings) -> Manifest:
    """The pod of a Deployment."""
    pod = _pod(spec, release)
    pod["serviceAccountName"] = place.service
    pod["terminationGracePeriodSeconds"] = GRACE_SECONDS
    if runs_several(spec, around):
        pod["topologySpreadConstraints"] = [_spread(place)]
    pod["containers"] = [_service_container(spec, release, place, around)]
    if spec.volumes:
        pod["volumes"] = [
            {"name": name, "persistentVolumeClaim": {"claimName": spec.volumes[name].claim}}
            for name in sorted(spec.volumes)
        ]
    return pod


def job_pod(spec: ServiceSpec, release: Release, place: Place, around: Surroundings) -> Manifest:
    """The pod of the release's job: the service's image and environment, another command, and one try."""
    assert spec.release is not None
    container = _container(spec, release, place, around)
    container["command"] = list(spec.release.command)
    return {**_pod(spec, release), "restartPolicy": "Never", "containers": [_ordered(container)]}


def runs_several(spec: ServiceSpec, around: Surroundings) -> bool:
    """True when more than one replica is there, or may come."""
    return (spec.scale.max if spec.scale else replicas(spec, around)) > 1


def replicas(spec: ServiceSpec, around: Surroundings) -> int:
    """The count that somebody scaled to, else the file's."""
    return spec.replicas if around.replicas is None else around.replicas


def _pod(spec: ServiceSpec, release: Release) -> Manifest:
    security: Manifest = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    if number := spec.user or (0 if _names_a_number(release.user) else DEFAULT_USER):
        security = {"runAsUser": number, "runAsGroup": number, "fsGroup": number, **security}
    if spec.port is not None and spec.port < 1024:
        security["sysctls"] = [dict(UNPRIVILEGED_PORTS)]  # instead of a capability, which "restricted" would not allow
    return {"automountServiceAccountToken": False, "enableServiceLinks": False, "securityContext": security}


def _names_a_number(user: str) -> bool:
    """A name cannot be checked by Kubernetes, which then starts nothing: only a number counts."""
    return bool(_NUMBER.fullmatch(user))


def _spread(place: Place) -> Manifest:
    return {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector(place)},
        "matchLabelKeys": ["pod-template-hash"],
    }


def _service_container(spec: ServiceSpec, release: Release, place: Place, around: Surroundings) -> Manifest:
    container = _container(spec, release, place, around)
    if spec.command:
        container["command"] = list(spec.command)
    if spec.port is not None:
        container["ports"] = [{"name": "http", "containerPort": spec.port}]
        container |= _probes(spec)
        # Endpoints are taken away while the pod ends, not before: for a moment new requests still arrive.
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": DRAIN_SECONDS}}}
    if spec.volumes:
        container["volumeMounts"] = [
            {"name": name, "mountPath": spec.volumes[name].path} for name in sorted(spec.volumes)
        ]
    return _ordered(container)


def _container(spec: ServiceSpec, release: Release, place: Place, around: Surroundings) -> Manifest:
    container: Manifest = {"name": place.service, "image": release.image}
    env = [{"name": key, "value": spec.env[key]} for key in sorted(spec.env)]
    if env := env + secrets.references(spec, place, around):
        container["env"] = env
    if quantities := _quantities(spec.resources):
        container["resources"] = {"requests": quantities, "limits": dict(quantities)}
    container["securityContext"] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return container


_ORDER = ("name", "image", "command", "env", "ports", "startupProbe", "readinessProbe", "livenessProbe", "lifecycle",
          "resources", "volumeMounts", "securityContext")  # fmt: skip


def _ordered(container: Manifest) -> Manifest:
    return {key: container[key] for key in _ORDER if key in container}


def _probes(spec: ServiceSpec) -> Manifest:
    """Ready by the health path; restarted only when the port is dead, for a failing database heals by no restart."""
    socket: dict[str, Any] = {"tcpSocket": {"port": "http"}}
    asked: dict[str, Any] = {"httpGet": {"path": spec.health, "port": "http"}} if spec.health else socket
    return {
        "startupProbe": {**asked, "periodSeconds": 1, "timeoutSeconds": 2, "failureThreshold": STARTUP_SECONDS},
        "readinessProbe": {**asked, "periodSeconds": 5, "timeoutSeconds": 2, "failureThreshold": 3},
        "livenessProbe": {**socket, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
    }


def _quantities(resources: Resources) -> dict[str, str]:
    asked = {"cpu": resources.cpu, "memory": resources.memory}
    return {key: value for key, value in asked.items() if value}
