"""The few fields of Kubernetes' objects that Enclii looks at; decoding into these drops all others at once."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

PREFIX = "enclii.dev/"
MANAGER = "enclii"
REVISION = "deployment.kubernetes.io/revision"
KEPT_ANNOTATIONS = (PREFIX, REVISION)
CONTROLLERS = frozenset({"kube-controller-manager", "kubelet", "kube-scheduler", "argocd-controller"})


class Shape(msgspec.Struct, rename="camel", omit_defaults=True):
    """The common part: unknown fields are ignored."""


class ManagedFields(Shape):
    manager: str = ""
    operation: str = ""
    time: str | None = None
    subresource: str = ""
    fields: msgspec.Raw = msgspec.field(name="fieldsV1", default_factory=lambda: msgspec.Raw(b""))


class Owner(Shape):
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False


class Meta(Shape):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: list[Owner] = []
    managed_fields: list[ManagedFields] = []
    owned: str = ""
    """Which fields Enclii owns, as a hash; it moves when anybody else changes one of them."""
    changed_by: str = ""
    """Who else wrote to the object last, controllers apart."""

    @property
    def key(self) -> tuple[str, str]:
        return self.namespace, self.name

    @property
    def owner(self) -> str:
        """The name of the controlling owner."""
        return next((one.name for one in self.owner_references if one.controller), "")

    def stripped(self) -> None:
        """Forget what is large and never looked at."""
        self.owned, self.changed_by = _owned(self.managed_fields), _changed_by(self.managed_fields)
        self.managed_fields = []
        self.annotations = {key: text for key, text in self.annotations.items() if key.startswith(KEPT_ANNOTATIONS)}


def _owned(entries: list[ManagedFields]) -> str:
    mine = [one for one in entries if one.manager == MANAGER and one.operation == "Apply" and not one.subresource]
    return hashlib.sha256(bytes(mine[0].fields)).hexdigest()[:16] if mine else ""


def _changed_by(entries: list[ManagedFields]) -> str:
    others = [one for one in entries if one.manager != MANAGER and one.manager not in CONTROLLERS]
    others = [one for one in others if one.subresource != "status"]
    return max(others, key=lambda one: one.time or "").manager if others else ""


class Condition(Shape):
    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""


class Port(Shape):
    container_port: int = 0


class Container(Shape):
    name: str = ""
    image: str = ""
    ports: list[Port] = []


class PodSpec(Shape):
    containers: list[Container] = []
    init_containers: list[Container] = []
    node_name: str = ""


class Template(Shape):
    spec: PodSpec = msgspec.field(default_factory=PodSpec)


class DeploymentSpec(Shape):
    replicas: int = 1
    paused: bool = False
    template: Template = msgspec.field(default_factory=Template)


class DeploymentState(Shape):
    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    conditions: list[Condition] = []


class Object(Shape):
    """Anything, by its metadata alone."""

    metadata: Meta = msgspec.field(default_factory=Meta)


class Deployment(Object):
    spec: DeploymentSpec = msgspec.field(default_factory=DeploymentSpec)
    status: DeploymentState = msgspec.field(default_factory=DeploymentState)


class ReplicaSetState(Shape):
    replicas: int = 0
    conditions: list[Condition] = []


class ReplicaSetSpec(Shape):
    replicas: int = 0


class ReplicaSet(Object):
    spec: ReplicaSetSpec = msgspec.field(default_factory=ReplicaSetSpec)
    status: ReplicaSetState = msgspec.field(default_factory=ReplicaSetState)


class Waiting(Shape):
    reason: str = ""
    message: str = ""


class Running(Shape):
    started_at: str | None = None


class Terminated(Shape):
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    started_at: str | None = None
    finished_at: str | None = None


class ContainerPhase(Shape):
    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


class ContainerStatus(Shape):
    name: str = ""
    ready: bool = False
    restart_count: int = 0
    image_id: str = msgspec.field(name="imageID", default="")
    container_id: str = msgspec.field(name="containerID", default="")
    state: ContainerPhase = msgspec.field(default_factory=ContainerPhase)
    last_state: ContainerPhase = msgspec.field(default_factory=ContainerPhase)


class PodState(Shape):
    phase: str = ""
    reason: str = ""
    message: str = ""
    pod_ip: str = msgspec.field(name="podIP", default="")
    conditions: list[Condition] = []
    container_statuses: list[ContainerStatus] = []
    init_container_statuses: list[ContainerStatus] = []


class Pod(Object):
    spec: PodSpec = msgspec.field(default_factory=PodSpec)
    status: PodState = msgspec.field(default_factory=PodState)


class Involved(Shape):
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""


class Event(Object):
    involved_object: Involved = msgspec.field(default_factory=Involved)
    reason: str = ""
    message: str = ""
    count: int = 0


class ConfigMap(Object):
    data: dict[str, str] = {}


class JobState(Shape):
    succeeded: int = 0
    failed: int = 0
    conditions: list[Condition] = []


class Job(Object):
    status: JobState = msgspec.field(default_factory=JobState)


def plain(value: Any) -> bytes:
    """A value as JSON in one fixed form, for hashes."""
    return msgspec.json.encode(value, order="deterministic")


def condition(found: list[Condition], kind: str) -> Condition | None:
    """The condition of that type."""
    return next((one for one in found if one.type == kind), None)
