"""Which images a service's documents would start: none but the one whose signature was verified; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gitops.clusters import Document, Wanted
from gitops.clusters.kube_objects import Container, Deployment
from pipeline.errors import Invalid

LISTS = ("containers", "initContainers", "ephemeralContainers")


def verified(wanted: Wanted, document: Document, what: str) -> None:
    """Return if ``document`` starts no image but the verified one; of adopted files, if its Deployment starts it.

    Raises Invalid, with ``what`` as the document's name.
    """
    if wanted.adopted:
        _is_deployed(wanted, document, what)
        return
    for container, image in images(document):
        if not _same(image, wanted.image):
            raise Invalid(
                f"{what}: {container} names the image {image[:200] or '(none)'!r}, and only {wanted.image} was"
                f" verified for {wanted.ref}: take it out of git, or deploy it as a service of its own; a person's"
                " files may bring sidecars: enclii adopt",
                reason="unverified_image",
            )


def images(document: Document) -> Iterator[tuple[str, str]]:
    """What names an image, and the image ("" for none), of every pod that a document of whatever kind describes.

    Pods are known by their lists of containers, wherever these stand: in a Pod, in any kind's template, in a CronJob's.
    """
    seen: set[int] = set()  # YAML's aliases make loops, and trees that are huge when written out
    left: list[Any] = [document]
    while left:
        node = left.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, Mapping):
            yield from _of_pod(node)
            left += node.values()
        elif isinstance(node, list):
            left += node


def _of_pod(node: Mapping[Any, Any]) -> Iterator[tuple[str, str]]:
    for key in LISTS:
        for one in _mappings(node.get(key)):
            yield f"the container {one.get('name')} of {key}", str(one.get("image") or "")
    for one in _mappings(node.get("volumes")):
        if isinstance(image := one.get("image"), Mapping):
            yield f"the volume {one.get('name')}", str(image.get("reference") or "")


def _mappings(found: Any) -> list[Mapping[Any, Any]]:
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _is_deployed(wanted: Wanted, document: Document, what: str) -> None:
    if document.get("kind") != "Deployment":
        return
    template = (document.get("spec") or {}).get("template") or {}
    containers = _mappings((template.get("spec") or {}).get("containers"))
    if not any(_same(str(one.get("image") or ""), wanted.image) for one in containers):
        raise Invalid(
            f"{what}: no container has the verified image {wanted.image}: let a target in enclii-targets.yaml name it",
            reason="unverified_image",
        )


def deployed(wanted: Wanted, deployment: Deployment) -> bool:
    """Whether a Deployment's pods are made of the wanted image."""
    return runs(wanted, deployment.spec.template.spec.containers)


def runs(wanted: Wanted, containers: Sequence[Container]) -> bool:
    """Whether one of a pod's containers is of the wanted image.

    What a person's files render may write it with a tag beside the digest, or by a mirror's name: there the digest
    alone counts, which only this image has.
    """
    images = [one.image for one in containers]
    if wanted.adopted:
        return any(image.partition("@")[2] == wanted.digest for image in images)
    return wanted.image in images


def _same(image: str, verified: str) -> bool:
    """Whether both are one digest of one repository; a tag beside the digest says nothing to a registry."""
    name, at, digest = image.partition("@")
    path, slash, last = name.rpartition("/")
    return f"{path}{slash}{last.partition(':')[0]}{at}{digest}" == verified if at else image == verified
