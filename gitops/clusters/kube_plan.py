"""From the documents of a config commit to what is applied: labelled, placed in their namespace, in waves; pure.

What git says is not changed: only what is needed to find the objects again is added, and defaults that git left open.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gitops.clusters import Document, ServiceRef, Wanted, Workload, kube_images
from gitops.clusters.kube_kinds import Kind, wave
from gitops.clusters.kube_objects import PREFIX, plain
from pipeline.errors import Invalid, Refused

SURGE: Mapping[str, Any] = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}}
INVENTORY_NAME = "enclii-inventory-"


@dataclass(frozen=True)
class Item:
    """One object as it shall be."""

    kind: Kind
    name: str
    document: dict[str, Any]
    hash: str

    @property
    def wave(self) -> int:
        return wave(self.kind.kind)

    @property
    def key(self) -> tuple[str, str, str]:
        return self.kind.api, self.kind.kind, self.name

    def __str__(self) -> str:
        return f"{self.kind.kind} {self.name}"


def namespace_of(wanted: Wanted) -> str:
    """Where the service lives: as the environment says, else after project and environment."""
    return wanted.namespace or f"{wanted.ref.project}-{wanted.ref.environment}"


def labels(instance: str, ref: ServiceRef) -> dict[str, str]:
    """What every object of a service carries; an object without these is nobody's business here."""
    return {PREFIX + "instance": instance, **service_labels(ref)}


def service_labels(ref: ServiceRef) -> dict[str, str]:
    return {
        PREFIX + "project": ref.project,
        PREFIX + "environment": ref.environment,
        PREFIX + "service": ref.service,
    }


def ref_of(found: Mapping[str, str]) -> ServiceRef | None:
    """The service that labels name."""
    parts = [found.get(PREFIX + key, "") for key in ("project", "environment", "service")]
    return ServiceRef(*parts) if all(parts) else None


def workload(wanted: Wanted) -> Workload:
    """How many replicas are asked for and on which port they answer. Raises Invalid unless there is one Deployment."""
    deployment = the_deployment(wanted)
    spec = deployment.get("spec") or {}
    containers = ((spec.get("template") or {}).get("spec") or {}).get("containers") or [{}]
    ports = [port.get("containerPort") for one in containers for port in one.get("ports") or ()]
    count = spec.get("replicas")  # null is written where an autoscaler has the say
    return Workload(replicas=1 if count is None else int(count), port=ports[0] if ports else None)


def address(wanted: Wanted) -> str | None:
    """The first host of an Ingress or HTTPRoute, whose Gateway ends TLS; else the Service's name within the cluster,
    else nothing.
    """
    for document in wanted.documents:
        if document.get("kind") == "Ingress":
            spec = document.get("spec") or {}
            host = next((rule.get("host") for rule in spec.get("rules") or () if rule.get("host")), None)
            if host:
                return f"{'https' if spec.get('tls') else 'http'}://{host}"
        if document.get("kind") == "HTTPRoute" and (named := (document.get("spec") or {}).get("hostnames")):
            return f"https://{named[0]}"
    for document in wanted.documents:
        if document.get("kind") == "Service":
            ports = (document.get("spec") or {}).get("ports") or [{}]
            name = (document.get("metadata") or {}).get("name")
            return f"http://{name}.{namespace_of(wanted)}.svc.cluster.local:{ports[0].get('port', 80)}"
    return None


def the_deployment(wanted: Wanted) -> Document:
    """The one Deployment of a service. Raises Invalid."""
    found = [one for one in wanted.documents if one.get("kind") == "Deployment"]
    if not found and wanted.adopted:
        raise elsewhere(wanted)
    if len(found) != 1:
        raise Invalid(f"{wanted.ref} needs exactly one Deployment, not {len(found)}", reason="unsupported_manifest")
    return found[0]


def plain_ones(wanted: Wanted) -> None:
    """Return if every document is a Kubernetes object. Raises Refused for a kustomization, and what is of a chart."""
    if not are_plain(wanted):
        raise elsewhere(wanted)


def are_plain(wanted: Wanted) -> bool:
    """Whether there are documents that can be applied as they are, with a Deployment among them."""
    kinds = [str(one.get("kind") or "") for one in wanted.documents]
    kustomize = any(str(one.get("apiVersion") or "").startswith("kustomize.config.") for one in wanted.documents)
    return all(kinds) and not kustomize and ("Deployment" in kinds or not wanted.adopted)


def elsewhere(wanted: Wanted) -> Refused:
    """Why a kustomization or a chart is not applied."""
    return Refused(
        f"the files of {wanted.ref} are a kustomization or a chart: Enclii writes the image into them and renders"
        " neither. Have Argo CD or Flux deploy them, on a cluster that is added with --sync argocd or flux",
        reason="rendered_elsewhere",
    )


def prepared(wanted: Wanted, document: Document, kind: Kind, *, instance: str) -> Item:
    """One document made ready to be applied by Enclii. Raises Invalid for what a service may not bring."""
    return marked(wanted, unmarked(wanted, document, kind), instance=instance)


def unmarked(wanted: Wanted, document: Document, kind: Kind) -> Item:
    """One document in its place and as git has it, as Argo CD and Flux apply it.

    Raises Invalid for what a service may not bring.
    """
    _check(wanted, document, kind)
    found = copy.deepcopy(dict(document))
    found.pop("status", None)
    found["apiVersion"], found["kind"] = kind.api, kind.kind
    found["metadata"] = {**(found.get("metadata") or {}), "namespace": namespace_of(wanted)}
    return Item(kind, str(found["metadata"]["name"]), found, "")


def marked(wanted: Wanted, item: Item, *, instance: str) -> Item:
    """The same with what Enclii finds its own objects again by, and its defaults for what git leaves open."""
    found = copy.deepcopy(item.document)
    metadata = found["metadata"]
    metadata["labels"] = {**(metadata.get("labels") or {}), **labels(instance, wanted.ref)}
    if item.kind.kind == "Deployment":
        _mark_deployment(found, wanted)
    elif item.kind.kind == "Job":
        _mark_template(found, wanted)
    return Item(item.kind, item.name, found, hashlib.sha256(plain(found)).hexdigest()[:16])


def _check(wanted: Wanted, document: Document, kind: Kind) -> None:
    metadata = document.get("metadata") or {}
    what = f"{kind.kind} {metadata.get('name')}"
    if not metadata.get("name"):
        raise Invalid(f"a {kind.kind} of {wanted.ref} has no metadata.name", reason="unsupported_manifest")
    if not kind.namespaced:
        raise Invalid(f"{what} belongs to the whole cluster: a service cannot bring it", reason="cluster_scoped")
    if kind.kind == "Secret":
        raise Invalid(f"{what}: values do not belong into git: use `enclii secret set`", reason="secret_in_git")
    elsewhere = metadata.get("namespace")
    if elsewhere and elsewhere != namespace_of(wanted):
        raise Invalid(
            f"{what} names the namespace {elsewhere!r}, but {wanted.ref.environment} of {wanted.ref.project} lives in"
            f" {namespace_of(wanted)!r}: leave metadata.namespace out, or bind the environment to it in project.yaml",
            reason="wrong_namespace",
        )
    kube_images.verified(wanted, document, what)


def _mark_deployment(found: dict[str, Any], wanted: Wanted) -> None:
    metadata = found["metadata"]
    metadata["annotations"] = {**(metadata.get("annotations") or {}), PREFIX + "deployment": wanted.deployment}
    _mark_template(found, wanted)
    found["spec"].setdefault("strategy", copy.deepcopy(dict(SURGE)))
    found["spec"].setdefault("selector", {"matchLabels": service_labels(wanted.ref)})


def _mark_template(found: dict[str, Any], wanted: Wanted) -> None:
    """Pods are found by their labels; manifests that Enclii renders have them already."""
    spec = found["spec"] = dict(found.get("spec") or {})
    template = spec["template"] = dict(spec.get("template") or {})
    metadata = template["metadata"] = dict(template.get("metadata") or {})
    mine = service_labels(wanted.ref)
    known = metadata.get("labels") or {}
    if any(known.get(key) != text for key, text in mine.items()):
        metadata["labels"] = {**known, **mine}
        metadata["annotations"] = {
            PREFIX + "release": wanted.release,
            **(metadata.get("annotations") or {}),
        }


@dataclass(frozen=True)
class Entry:
    """One applied object: what was asked for, and which fields were Enclii's afterwards, both as hashes.

    ``left``: the fields that git sets and another manager keeps.
    """

    api: str
    kind: str
    name: str
    hash: str = ""
    owned: str = ""
    left: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str, str]:
        return self.api, self.kind, self.name

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Inventory:
    """What was applied of one service."""

    ref: ServiceRef
    namespace: str
    deployment: str
    entries: tuple[Entry, ...]

    def entry(self, key: tuple[str, str, str]) -> Entry | None:
        return next((one for one in self.entries if one.key == key), None)


def inventory_document(inventory: Inventory, instance: str) -> dict[str, Any]:
    """The inventory as a ConfigMap beside what it lists."""
    rows = [[one.api, one.kind, one.name, one.hash, one.owned, *one.left] for one in sorted(inventory.entries, key=str)]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": INVENTORY_NAME + inventory.ref.service,
            "namespace": inventory.namespace,
            "labels": {**labels(instance, inventory.ref), PREFIX + "inventory": "true"},
        },
        "data": {"deployment": inventory.deployment, "objects": plain(rows).decode()},
    }


def entries_of(rows: Any) -> Iterator[Entry]:
    """The entries of an inventory's decoded rows; what is no row of at least five texts is left out."""
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, list) and len(row) >= 5 and all(isinstance(one, str) for one in row):
            yield Entry(row[0], row[1], row[2], row[3], row[4], tuple(row[5:]))
