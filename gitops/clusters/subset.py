"""The subset of Kubernetes YAML that podman can honour, and its translation into one Pod a replica.

What would be ignored or would fail later is refused here, by kind, name and path.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gitops.clusters import Document, Wanted
from pipeline.errors import Invalid

IGNORED_KINDS = frozenset({"Namespace"})
DEPLOYMENT_SPEC = frozenset(
    {"replicas", "selector", "template", "strategy", "revisionHistoryLimit", "progressDeadlineSeconds",
     "minReadySeconds"}
)  # fmt: skip
POD_SPEC = frozenset(
    {"containers", "volumes", "securityContext", "restartPolicy", "terminationGracePeriodSeconds",
     "automountServiceAccountToken", "enableServiceLinks", "topologySpreadConstraints"}
)  # fmt: skip
POD_PASSED = ("securityContext",)
CONTAINER = frozenset(
    {"name", "image", "imagePullPolicy", "command", "args", "workingDir", "env", "envFrom", "ports", "resources",
     "securityContext", "volumeMounts", "readinessProbe", "livenessProbe", "startupProbe", "terminationMessagePath",
     "terminationMessagePolicy"}
)  # fmt: skip
CONTAINER_PASSED = ("command", "args", "workingDir", "securityContext")
PROBE = frozenset(
    {"httpGet", "tcpSocket", "initialDelaySeconds", "periodSeconds", "timeoutSeconds", "successThreshold",
     "failureThreshold"}
)  # fmt: skip
HTTP_GET = frozenset({"path", "port", "scheme"})
MOUNT = frozenset({"name", "mountPath", "readOnly"})


@dataclass(frozen=True)
class Workload:
    """One Deployment, checked and resolved: what every replica is made from."""

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
    resources: Document
    mounts: tuple[Document, ...]
    volumes: Mapping[str, Mapping[str, str] | None]
    """Volume name → the files of a ConfigMap, or None for an empty directory."""


@dataclass(frozen=True)
class _Place:
    """Where in the documents we are, for the words of a refusal."""

    what: str
    path: str = ""

    def __truediv__(self, key: str | int) -> _Place:
        step = f"[{key}]" if isinstance(key, int) else f".{key}" if self.path else key
        return _Place(self.what, self.path + step)

    def refuse(self, why: str = "is not supported on podman", *, reason: str = "unsupported_manifest") -> Invalid:
        return Invalid(f"{self.what}: {self.path} {why}", reason=reason)

    def only(self, value: Any, allowed: frozenset[str]) -> Document:
        """``value`` as a mapping whose keys are all allowed, or a refusal of the first that is not."""
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise self.refuse("must be a mapping")
        for key in value:
            if key not in allowed:
                raise (self / str(key)).refuse()
        return value

    def items(self, value: Any) -> Iterator[tuple[_Place, Document]]:
        if value is not None and (isinstance(value, str | Mapping) or not isinstance(value, Sequence)):
            raise self.refuse("must be a list")
        for index, item in enumerate(value or ()):
            if not isinstance(item, Mapping):
                raise (self / index).refuse("must be a mapping")
            yield self / index, item


def translate(wanted: Wanted) -> Workload:
    """Check the documents of one service and resolve all that they refer to; raises Invalid for what cannot be."""
    deployment, configs = _sort(wanted)
    here = _Place(f"Deployment {_name(deployment)}")
    spec = (here / "spec").only(deployment.get("spec"), DEPLOYMENT_SPEC)
    template = (here / "spec" / "template").only(spec.get("template"), frozenset({"metadata", "spec"}))
    at = here / "spec" / "template" / "spec"
    pod = at.only(template.get("spec"), POD_SPEC)
    if pod.get("restartPolicy", "Always") != "Always":
        raise (at / "restartPolicy").refuse()
    where, container = _one_container(at, pod)
    ports = tuple(_ports(where, container))
    volumes = dict(_volumes(at, pod, configs))
    env, fields = _environment(where, container, configs, wanted.secrets)
    health, port = _health(where, container)
    workload = Workload(
        service=wanted.ref.service,
        container=str(container.get("name") or "app"),
        image=wanted.image,
        replicas=_count(here / "spec" / "replicas", spec.get("replicas", 1)),
        port=wanted.port or port or next(iter(ports), None),
        ports=ports,
        health=wanted.health or health,
        grace=_count(at / "terminationGracePeriodSeconds", pod.get("terminationGracePeriodSeconds", 30)),
        pod={key: pod[key] for key in POD_PASSED if key in pod},
        settings={key: container[key] for key in CONTAINER_PASSED if key in container},
        env=env,
        fields=fields,
        resources=container.get("resources") or {},
        mounts=tuple(_mounts(where, container, volumes)),
        volumes=volumes,
    )
    _check_services(wanted.documents, container, ports)
    return workload


def manifests(
    workload: Workload,
    *,
    name: str,
    labels: Mapping[str, str],
    host_ports: Mapping[int, int],
    limits: bool,
) -> tuple[Document, ...]:
    """The documents of one replica for ``podman kube play``; every volume is named after the pod, so none collides."""
    container: dict[str, Any] = {"name": workload.container, "image": workload.image, "imagePullPolicy": "Never"}
    container |= workload.settings
    container["env"] = [{"name": key, "value": value} for key, value in workload.env] + [
        {"name": key, "valueFrom": {"fieldRef": {"fieldPath": path}}} for key, path in workload.fields
    ]
    container["ports"] = [
        {"containerPort": inside, "hostIP": "127.0.0.1", "hostPort": outside} for inside, outside in host_ports.items()
    ]
    container["volumeMounts"] = [{**mount, "name": f"{name}-{mount['name']}"} for mount in workload.mounts]
    if limits and workload.resources:
        container["resources"] = dict(workload.resources)
    volumes, configs = [], []
    for volume, files in workload.volumes.items():
        own = f"{name}-{volume}"
        volumes.append({"name": own, "emptyDir": {}} if files is None else {"name": own, "configMap": {"name": own}})
        if files is not None:
            configs.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": own}, "data": dict(files)})
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": dict(labels)},
        "spec": {**workload.pod, "restartPolicy": "Always", "containers": [container], "volumes": volumes},
    }
    return (*configs, pod)


def _name(document: Document) -> str:
    return str((document.get("metadata") or {}).get("name", "(unnamed)"))


def _sort(wanted: Wanted) -> tuple[Document, dict[str, dict[str, str]]]:
    deployments, configs = [], {}
    for document in wanted.documents:
        kind = document.get("kind")
        if kind == "Deployment":
            deployments.append(document)
        elif kind == "ConfigMap":
            place = _Place(f"ConfigMap {_name(document)}")
            place.only(document, frozenset({"apiVersion", "kind", "metadata", "data", "immutable"}))
            configs[_name(document)] = {str(k): str(v) for k, v in (document.get("data") or {}).items()}
        elif kind != "Service" and kind not in IGNORED_KINDS:
            raise _Place(f"{kind} {_name(document)}", f"kind {kind}").refuse()
    if len(deployments) != 1:
        raise _Place(str(wanted.ref), "kind Deployment").refuse(
            f"must occur exactly once, not {len(deployments)} times"
        )
    return deployments[0], configs


def _count(place: _Place, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise place.refuse("must be a whole number, 0 or more")
    return value


def _one_container(at: _Place, pod: Document) -> tuple[_Place, Document]:
    found = list((at / "containers").items(pod.get("containers")))
    if not found:
        raise (at / "containers").refuse("must name a container")
    if len(found) > 1:
        raise found[1][0].refuse()
    where, container = found[0]
    return where, where.only(container, CONTAINER)


def _ports(where: _Place, container: Document) -> Iterator[int]:
    for place, item in (where / "ports").items(container.get("ports")):
        place.only(item, frozenset({"name", "containerPort", "protocol"}))
        if item.get("protocol", "TCP") != "TCP":
            raise (place / "protocol").refuse()
        yield _count(place / "containerPort", item.get("containerPort"))


def _port_number(place: _Place, value: Any, container: Document) -> int:
    if isinstance(value, str) and not value.isdigit():
        for item in container.get("ports") or ():
            if item.get("name") == value:
                return int(item["containerPort"])
        raise place.refuse(f"names the port {value!r}, which the container does not have")
    return _count(place, int(value) if isinstance(value, str) else value)


def _health(where: _Place, container: Document) -> tuple[str | None, int | None]:
    """Path and port of the readiness probe; the other probes are only checked, for Enclii restarts by exit alone."""
    for kind in ("readinessProbe", "startupProbe", "livenessProbe"):
        (where / kind).only(container.get(kind), PROBE)
    place = where / "readinessProbe"
    probe = container.get("readinessProbe") or {}
    if "httpGet" in probe:
        get = (place / "httpGet").only(probe["httpGet"], HTTP_GET)
        if get.get("scheme", "HTTP") != "HTTP":
            raise (place / "httpGet" / "scheme").refuse()
        path = str(get.get("path") or "/")
        if any(character <= " " for character in path) or not path.startswith("/"):
            raise (place / "httpGet" / "path").refuse("must begin with / and hold no blanks")
        return path, _port_number(place / "httpGet" / "port", get.get("port"), container)
    if "tcpSocket" in probe:
        port = (probe["tcpSocket"] or {}).get("port")
        return None, _port_number(place / "tcpSocket" / "port", port, container)
    return None, None


def _lookup(place: _Place, known: Mapping[str, Mapping[str, str]], source: Document, kind: str) -> Mapping[str, str]:
    name = str(source.get("name"))
    if name in known:
        return known[name]
    if source.get("optional"):
        return {}
    raise place.refuse(f"refers to {kind} {name}, which does not exist", reason=f"{kind.lower()}_missing")


def _environment(
    where: _Place,
    container: Document,
    configs: Mapping[str, Mapping[str, str]],
    secrets: Mapping[str, Mapping[str, str]],
) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
    values: dict[str, str] = {}
    fields: dict[str, str] = {}
    for place, item in (where / "envFrom").items(container.get("envFrom")):
        place.only(item, frozenset({"prefix", "configMapRef", "secretRef"}))
        known, kind, key = (
            (secrets, "Secret", "secretRef") if "secretRef" in item else (configs, "ConfigMap", "configMapRef")
        )
        found = _lookup(place / key, known, item.get(key) or {}, kind)
        values |= {f"{item.get('prefix', '')}{name}": value for name, value in found.items()}
    for place, item in (where / "env").items(container.get("env")):
        place.only(item, frozenset({"name", "value", "valueFrom"}))
        name = str(item.get("name"))
        source = (place / "valueFrom").only(
            item.get("valueFrom"), frozenset({"configMapKeyRef", "secretKeyRef", "fieldRef"})
        )
        if "fieldRef" in source:
            path = str((source["fieldRef"] or {}).get("fieldPath"))
            if path != "metadata.name":
                raise (place / "valueFrom" / "fieldRef" / "fieldPath").refuse()
            values.pop(name, None)
            fields[name] = path
            continue
        value = _referred(place / "valueFrom", source, configs, secrets) if source else str(item.get("value") or "")
        if value is not None:
            values[name] = value
    return tuple(values.items()), tuple(fields.items())


def _referred(
    place: _Place,
    source: Document,
    configs: Mapping[str, Mapping[str, str]],
    secrets: Mapping[str, Mapping[str, str]],
) -> str | None:
    secret = "secretKeyRef" in source
    key = "secretKeyRef" if secret else "configMapKeyRef"
    kind = "Secret" if secret else "ConfigMap"
    asked = source[key] or {}
    found = _lookup(place / key, secrets if secret else configs, asked, kind)
    if asked.get("key") in found:
        return found[asked["key"]]
    if asked.get("optional"):
        return None
    raise (place / key).refuse(
        f"refers to {asked.get('key')} of {kind} {asked.get('name')}, which has no such key",
        reason=f"{kind.lower()}_missing",
    )


def _volumes(
    at: _Place, pod: Document, configs: Mapping[str, Mapping[str, str]]
) -> Iterator[tuple[str, Mapping[str, str] | None]]:
    for place, item in (at / "volumes").items(pod.get("volumes")):
        place.only(item, frozenset({"name", "emptyDir", "configMap"}))
        if "configMap" not in item:
            (place / "emptyDir").only(item.get("emptyDir"), frozenset())
            yield str(item.get("name")), None
            continue
        source = (place / "configMap").only(item["configMap"], frozenset({"name", "items", "optional"}))
        files = _lookup(place / "configMap", configs, source, "ConfigMap")
        yield str(item.get("name")), _chosen(place / "configMap", source, files)


def _chosen(place: _Place, source: Document, files: Mapping[str, str]) -> Mapping[str, str]:
    if "items" not in source:
        return files
    chosen = {}
    for at, item in (place / "items").items(source["items"]):
        at.only(item, frozenset({"key", "path"}))
        if "/" in str(item.get("path")):
            raise (at / "path").refuse("must be a plain file name on podman")
        if item.get("key") not in files:
            raise (at / "key").refuse("is not a key of the ConfigMap", reason="configmap_missing")
        chosen[str(item.get("path"))] = files[item["key"]]
    return chosen


def _mounts(where: _Place, container: Document, volumes: Mapping[str, Any]) -> Iterator[Document]:
    for place, item in (where / "volumeMounts").items(container.get("volumeMounts")):
        place.only(item, MOUNT)
        if item.get("name") not in volumes:
            raise (place / "name").refuse("names no volume of the pod")
        yield dict(item)


def _check_services(documents: Sequence[Document], container: Document, ports: tuple[int, ...]) -> None:
    """A podman network has no port translation: a Service may only repeat the ports of the container."""
    for document in documents:
        if document.get("kind") != "Service":
            continue
        place = _Place(f"Service {_name(document)}") / "spec"
        spec = place.only(document.get("spec"), frozenset({"type", "selector", "ports"}))
        if spec.get("type", "ClusterIP") != "ClusterIP":
            raise (place / "type").refuse()
        for at, item in (place / "ports").items(spec.get("ports")):
            at.only(item, frozenset({"name", "port", "targetPort", "protocol", "appProtocol"}))
            target = _port_number(at / "targetPort", item.get("targetPort", item.get("port")), container)
            if item.get("port") != target or target not in ports:
                raise (at / "port").refuse("must be the container's own port on podman")
