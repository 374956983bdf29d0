"""Who a manifest belongs to: names, labels, selectors and the annotations that lead back to a release."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gitops.layout import Place
from pipeline.records import Release

DOMAIN = "enclii.dev"
SERVICE = "service"
RELEASE_JOB = "release-job"
Manifest = dict[str, Any]


def labels(place: Place, *, component: str = SERVICE) -> dict[str, str]:
    """The labels of everything that is made for a service."""
    return {
        "app.kubernetes.io/name": place.service,
        "app.kubernetes.io/part-of": place.project,
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/managed-by": "enclii",
        **selector(place),
    }


def selector(place: Place) -> dict[str, str]:
    """Never more than this: a Deployment's selector cannot be changed later."""
    return {
        f"{DOMAIN}/project": place.project,
        f"{DOMAIN}/environment": place.environment,
        f"{DOMAIN}/service": place.service,
    }


def serving(place: Place) -> dict[str, str]:
    """The pods that serve, without those of the release's job."""
    return {**selector(place), "app.kubernetes.io/component": SERVICE}


def origin(release: Release) -> dict[str, str]:
    """The annotations by which a manifest tells which release and which commit it came from."""
    return {
        f"{DOMAIN}/release": release.id,
        f"{DOMAIN}/source": release.source_url,
        f"{DOMAIN}/commit": release.sha,
    }


def manifest(
    api: str, kind: str, place: Place, spec: Mapping[str, Any], *, annotations: Mapping[str, str] | None = None
) -> Manifest:
    """One object named after the service."""
    metadata: Manifest = {"name": place.service, "labels": labels(place)}
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": dict(spec)}
