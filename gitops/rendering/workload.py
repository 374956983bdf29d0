"""The Deployment of a service, and the Job that its release runs before anything is replaced."""

from __future__ import annotations

import hashlib
import json

from gitops.layout import Place
from gitops.rendering import pod
from gitops.rendering.identity import DOMAIN, RELEASE_JOB, Manifest, labels, manifest, origin, selector
from gitops.rendering.surroundings import Surroundings
from pipeline.records import Release
from pipeline.servicefile import ServiceSpec

SETTLED_SECONDS = 10
DEADLINE_SECONDS = 300
KEPT_REVISIONS = 2  # git is the history


def deployment(spec: ServiceSpec, release: Release, place: Place, around: Surroundings) -> Manifest:
    """No pod goes before another one is ready in its place."""
    annotations = origin(release)
    template = {**annotations, **pod.marks(spec, release)}
    if around.restarted_at:
        template[f"{DOMAIN}/restarted-at"] = around.restarted_at
    wanted: Manifest = {} if spec.scale else {"replicas": pod.replicas(spec, around)}  # else the autoscaler counts
    wanted |= {
        "revisionHistoryLimit": KEPT_REVISIONS,
        "progressDeadlineSeconds": DEADLINE_SECONDS,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "selector": {"matchLabels": selector(place)},
        "template": {
            "metadata": {"labels": labels(place), "annotations": template},
            "spec": pod.service_pod(spec, release, place, around),
        },
    }
    if spec.port is None:
        wanted["minReadySeconds"] = SETTLED_SECONDS  # nothing can be asked: ten seconds without a restart count
    return manifest("apps/v1", "Deployment", place, wanted, annotations=annotations)


def release_job(spec: ServiceSpec, release: Release, place: Place, around: Surroundings) -> Manifest:
    """A Job named after its own content: it cannot be changed, and what changed has to run again.

    Argo CD runs it by its hook annotation before it syncs the rest; the other syncers by their order.
    """
    assert spec.release is not None
    template = {
        "metadata": {"labels": labels(place, component=RELEASE_JOB), "annotations": pod.marks(spec, release)},
        "spec": pod.job_pod(spec, release, place, around),
    }
    if not template["metadata"]["annotations"]:
        del template["metadata"]["annotations"]
    name = f"{place.service}-release-{_content(release.id, template)}"
    hooks = {
        "argocd.argoproj.io/hook": "PreSync",
        "argocd.argoproj.io/hook-delete-policy": "BeforeHookCreation",
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "labels": labels(place, component=RELEASE_JOB),
            "annotations": {**origin(release), **hooks},
        },
        "spec": {"backoffLimit": 0, "activeDeadlineSeconds": spec.release.timeout, "template": template},
    }


def _content(release: str, template: Manifest) -> str:
    return hashlib.sha256(json.dumps([release, template], sort_keys=True).encode()).hexdigest()[:10]
