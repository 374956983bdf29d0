"""The subset of Kubernetes YAML that podman can honour, and its translation into one Pod a replica.

What would be ignored or would fail later is refused here, by kind, name and path; docs/podman.md names what is passed
over on purpose.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gitops.clusters import Document, Wanted
from gitops.clusters.subset_spot import Spot, count, name_of, port_number
from gitops.clusters.subset_values import Configs, SecretUse, mounts, variables, volumes
from gitops.rendering.pod import DEFAULT_USER_MARK
from pipeline.errors import Invalid

IGNORED_KINDS = frozenset(
    {
        "Namespace",
        "ServiceAccount",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Ingress",
        "HTTPRoute",
        "LimitRange",
        "ResourceQuota",
    }
)
DEPLOYMENT_SPEC = frozenset(
    {"replicas", "selector", "template", "strategy", "revisionHistoryLimit", "progressDeadlineSeconds",
     "minReadySeconds"}
)  # fmt: skip
JOB_SPEC = frozenset(
    {"template", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished", "completions", "parallelism"}
)
POD_SPEC = frozenset(
    {"containers", "volumes", "securityContext", "restartPolicy", "terminationGracePeriodSeconds",
     "automountServiceAccountToken", "enableServiceLinks", "serviceAccountName", "topologySpreadConstraints"}
)  # fmt: skip
CONTAINER = frozenset(
    {"name", "image", "imagePullPolicy", "command", "args", "workingDir", "env", "envFrom", "ports", "resources",
     "securityContext", "volumeMounts", "readinessProbe", "livenessProbe", "startupProbe", "lifecycle",
     "terminationMessagePath", "terminationMessagePolicy"}
)  # fmt: skip
CONTAINER_PASSED = ("command", "args", "workingDir", "securityContext")
PROBE = frozenset(
    {"httpGet", "tcpSocket", "initialDelaySeconds", "periodSeconds", "timeoutSeconds", "successThreshold",
     "failureThreshold"}
)  # fmt: skip
HTTP_GET = frozenset({"path", "port", "scheme"})
AS_USER = ("runAsUser", "runAsGroup", "runAsNonRoot", "fsGroup")
JOB_SECONDS = 600


@dataclass(frozen=True)
class Workload:
    """One Deployment, or the pod of one Job, checked and resolved: what every replica is made from."""

    service: str
    container: str
    image: str
    replicas: int
    port: int | None
    ports: tuple[int, ...]
    health: str | None
    grace: int
    pod: Document
    settings: Document
    env: tuple[tuple[str, str], ...]
    fields: tuple[tuple[str, str], ...]
    secrets: tuple[SecretUse, ...]
    resources: Document
    mounts: tuple[Document, ...]
    volumes: Mapping[str, Mapping[str, str] | None]
    """Volume name → the files of a ConfigMap, or None for an empty directory."""
    job: Job | None = None


@dataclass(frozen=True)
class Job:
    """What has to succeed before the first replica starts; ``timeout`` in seconds."""

    name: str
    timeout: int
    pod: Workload


@dataclass(frozen=True)
class _Documents:
    deployment: Document
    configs: Configs
    job: Document | None
    least: int | None
    """The replicas that an autoscaler would never go below; podman runs these."""


def translate(wanted: Wanted) -> Workload:
    """Check the documents of one service and resolve all that they refer to; raises Invalid for what cannot be."""
    _check_walls(wanted.documents)
    found = _sort(wanted)
    here = Spot(f"Deployment {name_of(found.deployment)}")
    spec = (here / "spec").only(found.deployment.get("spec"), DEPLOYMENT_SPEC)
    replicas = spec.get("replicas", 1 if found.least is None else found.least)
    template, job = here / "spec" / "template", _job(wanted, found)
    workload, container = _pod(wanted, template, spec.get("template"), found.configs, "Always")
    _check_services(wanted.documents, container, workload.ports)
    return replace(workload, replicas=count(here / "spec" / "replicas", replicas), job=job)


def _check_walls(documents: Sequence[Document]) -> None:
    """A podman container on two networks would be sent what belongs to a namesake: no way leads out of a preview."""
    for document in documents:
        ways = (document.get("spec") or {}).get("egress") or () if document.get("kind") == "NetworkPolicy" else ()
        if any("namespaceSelector" in to for way in ways for to in way.get("to") or ()):
            raise Invalid(
                "podman has no way from a preview to a service of its base environment: name that under"
                " previews.base.copied in project.yaml instead of shared, or put previews on Kubernetes",
                reason="sharing_needs_kubernetes",
            )


def _job(wanted: Wanted, found: _Documents) -> Job | None:
    if found.job is None:
        return None
    here = Spot(f"Job {name_of(found.job)}")
    spec = (here / "spec").only(found.job.get("spec"), JOB_SPEC)
    pod, _ = _pod(wanted, here / "spec" / "template", spec.get("template"), found.configs, "Never")
    seconds = count(here / "spec" / "activeDeadlineSeconds", spec.get("activeDeadlineSeconds", JOB_SECONDS))
    return Job(name_of(found.job), seconds, pod)


def _pod(wanted: Wanted, here: Spot, template: Any, configs: Configs, restart: str) -> tuple[Workload, Document]:
    template = here.only(template, frozenset({"metadata", "spec"}))
    at = here / "spec"
    pod = at.only(template.get("spec"), POD_SPEC)
    if pod.get("restartPolicy", "Always") != restart:
        raise (at / "restartPolicy").refuse()
    where, container = _one_container(at, pod)
    ports = tuple(_ports(where, container))
    disks = dict(volumes(at, pod, configs))
    told = variables(where, container, configs)
    _check_lifecycle(where / "lifecycle", container.get("lifecycle"))
    health, port = _health(where, container)
    own_user = DEFAULT_USER_MARK in ((template.get("metadata") or {}).get("annotations") or {})
    workload = Workload(
        service=wanted.ref.service,
        container=str(container.get("name") or "app"),
        image=wanted.image,
        replicas=1,
        port=wanted.port or port or next(iter(ports), None),
        ports=ports,
        health=wanted.health or health,
        grace=count(at / "terminationGracePeriodSeconds", pod.get("terminationGracePeriodSeconds", 30)),
        pod=_security({key: pod[key] for key in ("securityContext",) if key in pod}, own_user=own_user),
        settings=_security({key: container[key] for key in CONTAINER_PASSED if key in container}, own_user=own_user),
        env=told.env,
        fields=told.fields,
        secrets=told.secrets,
        resources=container.get("resources") or {},
        mounts=tuple(mounts(where, container, disks)),
        volumes=disks,
    )
    return workload, container


def _security(found: Document, *, own_user: bool) -> Document:
    """Without what podman ignores; and where the user is only Enclii's default, without that: the image's own runs."""
    if "securityContext" not in found:
        return found
    dropped = ("seccompProfile", "sysctls", *((*AS_USER, "capabilities") if own_user else ()))
    kept = {key: value for key, value in (found["securityContext"] or {}).items() if key not in dropped}
    return {**found, "securityContext": kept}


def manifests(
    workload: Workload,
    *,
    name: str,
    labels: Mapping[str, str],
    host_ports: Mapping[int, int],
    limits: bool,
    secret_prefix: str = "",
    restart: str = "Always",
) -> tuple[Document, ...]:
    """The documents of one replica for ``podman kube play``; every volume is named after the pod, so none collides."""
    container: dict[str, Any] = {"name": workload.container, "image": workload.image, "imagePullPolicy": "Never"}
    container |= workload.settings
    container["env"] = list(_environment(workload, secret_prefix))
    container["ports"] = [
        {"containerPort": inside, "hostIP": "127.0.0.1", "hostPort": outside} for inside, outside in host_ports.items()
    ]
    container["volumeMounts"] = [{**mount, "name": f"{name}-{mount['name']}"} for mount in workload.mounts]
    if limits and workload.resources:
        container["resources"] = dict(workload.resources)
    disks, configs = [], []
    for volume, files in workload.volumes.items():
        own = f"{name}-{volume}"
        disks.append({"name": own, "emptyDir": {}} if files is None else {"name": own, "configMap": {"name": own}})
        if files is not None:
            configs.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": own}, "data": dict(files)})
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": dict(labels)},
        "spec": {**workload.pod, "restartPolicy": restart, "containers": [container], "volumes": disks},
    }
    return (*configs, pod)


def _environment(workload: Workload, prefix: str) -> Iterator[Document]:
    for key, value in workload.env:
        yield {"name": key, "value": value}
    for key, path in workload.fields:
        yield {"name": key, "valueFrom": {"fieldRef": {"fieldPath": path}}}
    for one in workload.secrets:
        source = {"name": f"{prefix}{one.secret}", "key": one.key}
        yield {"name": one.variable, "valueFrom": {"secretKeyRef": source}}


def _sort(wanted: Wanted) -> _Documents:
    kinds: dict[str, list[Document]] = {"Deployment": [], "Job": []}
    configs: dict[str, dict[str, str]] = {}
    least = None
    for document in wanted.documents:
        kind = str(document.get("kind"))
        if kind in kinds:
            kinds[kind].append(document)
        elif kind == "ConfigMap":
            spot = Spot(f"ConfigMap {name_of(document)}")
            spot.only(document, frozenset({"apiVersion", "kind", "metadata", "data", "immutable"}))
            configs[name_of(document)] = {str(k): str(v) for k, v in (document.get("data") or {}).items()}
        elif kind == "HorizontalPodAutoscaler":
            spot = Spot(f"{kind} {name_of(document)}") / "spec" / "minReplicas"
            least = count(spot, (document.get("spec") or {}).get("minReplicas", 1))
        elif kind != "Service" and kind not in IGNORED_KINDS:
            raise Spot(f"{kind} {name_of(document)}", f"kind {kind}").refuse()
    deployments, jobs = kinds.values()
    if len(deployments) != 1:
        raise Spot(str(wanted.ref), "kind Deployment").refuse(f"must occur exactly once, not {len(deployments)} times")
    if len(jobs) > 1:
        raise Spot(str(wanted.ref), "kind Job").refuse(f"must occur at most once, not {len(jobs)} times")
    return _Documents(deployments[0], configs, jobs[0] if jobs else None, least)


def _one_container(at: Spot, pod: Document) -> tuple[Spot, Document]:
    found = list((at / "containers").items(pod.get("containers")))
    if not found:
        raise (at / "containers").refuse("must name a container")
    if len(found) > 1:
        raise found[1][0].refuse()
    where, container = found[0]
    return where, where.only(container, CONTAINER)


def _ports(where: Spot, container: Document) -> Iterator[int]:
    for spot, item in (where / "ports").items(container.get("ports")):
        spot.only(item, frozenset({"name", "containerPort", "protocol"}))
        if item.get("protocol", "TCP") != "TCP":
            raise (spot / "protocol").refuse()
        yield count(spot / "containerPort", item.get("containerPort"))


def _health(where: Spot, container: Document) -> tuple[str | None, int | None]:
    """Path and port of the readiness probe; the other probes are only checked, for Enclii restarts by exit alone."""
    for kind in ("readinessProbe", "startupProbe", "livenessProbe"):
        (where / kind).only(container.get(kind), PROBE)
    spot = where / "readinessProbe"
    probe = container.get("readinessProbe") or {}
    if "httpGet" in probe:
        get = (spot / "httpGet").only(probe["httpGet"], HTTP_GET)
        if get.get("scheme", "HTTP") != "HTTP":
            raise (spot / "httpGet" / "scheme").refuse()
        path = str(get.get("path") or "/")
        if any(character <= " " for character in path) or not path.startswith("/"):
            raise (spot / "httpGet" / "path").refuse("must begin with / and hold no blanks")
        return path, port_number(spot / "httpGet" / "port", get.get("port"), container)
    if "tcpSocket" in probe:
        port = (probe["tcpSocket"] or {}).get("port")
        return None, port_number(spot / "tcpSocket" / "port", port, container)
    return None, None


def _check_lifecycle(spot: Spot, lifecycle: Any) -> None:
    """A pause before the end is passed over, for the front door drains first; any other hook would go missing."""
    hooks = spot.only(lifecycle, frozenset({"preStop"}))
    (spot / "preStop").only(hooks.get("preStop"), frozenset({"sleep"}))


def _check_services(documents: Sequence[Document], container: Document, ports: tuple[int, ...]) -> None:
    """A podman network has no port translation: a Service may only repeat the ports of the container."""
    for document in documents:
        if document.get("kind") != "Service":
            continue
        spot = Spot(f"Service {name_of(document)}") / "spec"
        spec = spot.only(document.get("spec"), frozenset({"type", "selector", "ports"}))
        if spec.get("type", "ClusterIP") != "ClusterIP":
            raise (spot / "type").refuse()
        for at, item in (spot / "ports").items(spec.get("ports")):
            at.only(item, frozenset({"name", "port", "targetPort", "protocol", "appProtocol"}))
            target = port_number(at / "targetPort", item.get("targetPort", item.get("port")), container)
            if item.get("port") != target or target not in ports:
                raise (at / "port").refuse("must be the container's own port on podman")
