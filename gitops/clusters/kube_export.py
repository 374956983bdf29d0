"""A Deployment that runs already as a manifest for git: without what the cluster added; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from pipeline.errors import Refused

KEPT_METADATA: Final = ("name", "labels", "annotations")
SERVER_ANNOTATIONS: Final = ("kubectl.kubernetes.io/", "deployment.kubernetes.io/", "enclii.dev/")
SECRET_NAME: Final = re.compile(r"PASSWORD|PASSWD|SECRET|TOKEN|PRIVATE|CREDENTIAL|API_?KEY", re.IGNORECASE)


def manifest(running: Mapping[str, Any]) -> dict[str, Any]:
    """The Deployment as it would be written by hand. Raises Refused for values that look like secrets."""
    found = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": _metadata(running.get("metadata") or {})}
    spec = dict(running.get("spec") or {})
    template = dict(spec.get("template") or {})
    template["metadata"] = _metadata(template.get("metadata") or {})
    _check(template.get("spec") or {})
    return {**found, "spec": {**spec, "template": template}}


def _metadata(found: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: found[key] for key in KEPT_METADATA if found.get(key)}
    annotations = kept.pop("annotations", {})
    written = {key: text for key, text in annotations.items() if not key.startswith(SERVER_ANNOTATIONS)}
    return kept | ({"annotations": written} if written else {})


def _check(pod: Mapping[str, Any]) -> None:
    """Git is read by many, and forgets nothing."""
    containers = [*(pod.get("containers") or ()), *(pod.get("initContainers") or ())]
    plain = [
        str(one.get("name")) for each in containers for one in each.get("env") or () if one.get("value")
        if SECRET_NAME.search(str(one.get("name")))
    ]  # fmt: skip
    if plain:
        raise Refused(
            f"{', '.join(sorted(set(plain)))}: written into the Deployment as plain text, which would go into git; move"
            " them into a Secret first (valueFrom.secretKeyRef)",
            reason="plain_secret",
        )
