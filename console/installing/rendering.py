"""What an install would apply: an overlay of ``manifests/platform``, or one of somebody's own, built by kustomize.

The images, settings and labels that the caller names go into a small kustomization on top, so the same can be had
without Enclii, by ``kubectl kustomize``.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import console
from console.installing import documents
from console.installing.documents import Document
from console.installing.kubectl import Kubectl
from pipeline.errors import Invalid

MANIFESTS: Final = Path(console.__file__).parent.parent / "manifests"
OVERLAYS: Final = ("small", "ha")
BUILDKIT: Final = "docker.io/moby/buildkit:v0.34.2-rootless"
SETTINGS: Final = "enclii-settings"
INSTANCE: Final = "ENCLII_INSTANCE"
"""Whose label everything carries that is deployed; another namespace is another installation, so it has another."""
MARK: Final = "enclii-installation"
"""The ConfigMap that says what is installed; there is one in each installation."""
OF_ENCLII: Final = "app.kubernetes.io/part-of=enclii"


@dataclass(frozen=True)
class Plan:
    """What is wanted: ``overlay`` is one of OVERLAYS or a folder; an empty image is the overlay's own."""

    overlay: str = "small"
    namespace: str = documents.NAMESPACE
    image: str = ""
    buildkit: str = BUILDKIT
    settings: Mapping[str, str] = field(default_factory=dict)


async def render(plan: Plan, kubectl: Kubectl) -> list[Document]:
    """Every document, in the order in which it is applied. Raises Invalid, Refused, Unavailable."""
    folder = _folder(plan.overlay)
    with tempfile.TemporaryDirectory(prefix="enclii-install-") as top:
        await asyncio.to_thread(_write_top, Path(top), folder, plan)
        found = documents.read(await kubectl.call("kustomize", top))
    made = [documents.placed(one, plan.namespace) for one in found]
    made.append(_mark(plan, made))
    return sorted(made, key=lambda one: one["kind"] != "Namespace")


def _write_top(top: Path, folder: Path, plan: Plan) -> None:
    base = os.path.relpath(folder.resolve(), top.resolve())  # kustomize takes no absolute address
    (top / "kustomization.yaml").write_text(json.dumps(_kustomization(plan, base)))


def settings_of(found: list[Document]) -> dict[str, str]:
    """The settings that every process is told."""
    maps = (one for one in found if one["kind"] == "ConfigMap" and one["metadata"]["name"].startswith(SETTINGS))
    return {name: value for one in maps for name, value in one.get("data", {}).items()}


def images_of(found: list[Document]) -> frozenset[str]:
    """Every image that a container is to run."""
    pods = [documents.pod_of(one) for one in found if documents.is_workload(one)]
    return frozenset(one["image"] for pod in pods for one in [*pod["containers"], *pod.get("initContainers", ())])


def _folder(overlay: str) -> Path:
    folder = MANIFESTS / "platform/overlays" / overlay if overlay in OVERLAYS else Path(overlay)
    if not (folder / "kustomization.yaml").is_file():
        raise Invalid(
            f"{overlay} is neither {' nor '.join(OVERLAYS)}, nor a folder with a kustomization.yaml",
            reason="no_overlay",
        )
    return folder


def _kustomization(plan: Plan, base: str) -> dict[str, Any]:
    given = {"enclii": plan.image, "buildkit": plan.buildkit}
    made: dict[str, Any] = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [base],
        "images": [_image(name, image) for name, image in given.items() if image],
    }
    own = {INSTANCE: plan.namespace} if plan.namespace != documents.NAMESPACE else {}
    if settings := own | dict(plan.settings):
        literals = [f"{name}={value}" for name, value in sorted(settings.items())]
        merged = {"name": SETTINGS, "namespace": documents.NAMESPACE, "behavior": "merge", "literals": literals}
        made["configMapGenerator"] = [merged]
    return made


def _image(name: str, reference: str) -> dict[str, str]:
    """An image in kustomize's words: a digest wins over a tag."""
    plain, _, digest = reference.partition("@")
    head, colon, tag = plain.rpartition(":")
    named, tag = (head, tag) if colon and "/" not in tag else (plain, "")
    told = {"digest": digest} if digest else {"newTag": tag} if tag else {}
    return {"name": name, "newName": named, **told}


def _mark(plan: Plan, made: list[Document]) -> Document:
    """Says what is installed, by which objects, so that what is missing or left over can be told."""
    shipped = plan.overlay in OVERLAYS
    told = {"version": version("enclii"), "overlay": plan.overlay if shipped else "own", "image": plan.image}
    told |= {"instance": settings_of(made).get(INSTANCE, ""), "objects": _listed(made)}
    labels = {"app.kubernetes.io/part-of": "enclii", "enclii.dev/installation": "enclii"}
    about = {"name": MARK, "namespace": plan.namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": told}


def _listed(made: list[Document]) -> str:
    """``Kind namespace name`` of each, one a line."""
    named = (documents.identity(one) for one in made)
    return "".join(sorted(f"{kind} {namespace or '-'} {name}\n" for kind, namespace, name in named))
