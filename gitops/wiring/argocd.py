"""Argo CD's documents: a project that fences Enclii in, and an Application for each service or one ApplicationSet.

Auto-sync, self-heal and prune are on: git is the only desired state, and a rollback is a commit like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gitops.binding import namespace_of
from gitops.layout import APART
from gitops.wiring import Document, Source, Unit, pod_security_labels

GROUP = "argoproj.io/v1alpha1"
PATHS = "argocd.argoproj.io/manifest-generate-paths"
FINALIZER = "resources-finalizer.argocd.argoproj.io/foreground"
EXCLUDED = f"{{{','.join(sorted(APART))},.*}}"
FENCED = ("kube-*", "argocd", "enclii")
IN_CLUSTER = "https://kubernetes.default.svc"


@dataclass(frozen=True)
class Site:
    """One Argo CD: its namespace, the project in it, and the destination that it knows the cluster by."""

    namespace: str = "argocd"
    project: str = "enclii"
    server: str = IN_CLUSTER


def project(site: Site, source: Source) -> Document:
    """The AppProject: one repository, one cluster, no namespace of the platform's, no kind of the platform's."""
    fenced = dict.fromkeys((*FENCED, site.namespace))
    destinations = [{"server": site.server, "namespace": f"!{name}"} for name in fenced]
    spec = {
        "description": "Services that Enclii delivers from its config repository",
        "sourceRepos": [source.url],
        "destinations": [*destinations, {"server": site.server, "namespace": "*"}],
        "clusterResourceWhitelist": [{"group": "", "kind": "Namespace"}],
    }
    return _document("AppProject", site.project, site, {}, spec)


def application(unit: Unit, site: Site, source: Source) -> Document:
    """The Application of one service. Deleting it deletes what it applied.

    It is compared without ServerSideDiff: that was seen to find differences in the middle of a rollout that are none,
    and the self-heal that follows holds up the next commit for 5 s.
    """
    made = _document("Application", unit.name, site, unit.labels, _spec(unit, site, source))
    annotations = {PATHS: f"/{unit.place.path}"}
    return {**made, "metadata": {**made["metadata"], "annotations": annotations, "finalizers": [FINALIZER]}}


def application_set(units: Sequence[Unit], elsewhere: Sequence[str], site: Site, source: Source) -> Document:
    """One ApplicationSet that makes the Applications of all directories but those below ``elsewhere``.

    Nobody else makes the namespaces then, so each sync looks after their labels; that costs Argo CD's pause between
    two waves, 2 s unless ARGOCD_SYNC_WAVE_DELAY says otherwise.
    """
    directories = [{"path": "*/*/*"}, *({"path": f"{path}/*", "exclude": True} for path in elsewhere)]
    segments = [f"{{{{index .path.segments {number}}}}}" for number in range(3)]
    labels = dict(zip(("project", "environment", "service"), segments, strict=True))
    sync = {**_sync_policy(), "managedNamespaceMetadata": {"labels": pod_security_labels()}}
    template = {
        "metadata": {
            "name": ".".join(segments),
            "labels": {"app.kubernetes.io/managed-by": "enclii"}
            | {f"enclii.dev/{key}": value for key, value in labels.items()},
            "annotations": {PATHS: "/{{.path.path}}"},
            "finalizers": [FINALIZER],
        },
        "spec": {
            "project": site.project,
            "source": {
                "repoURL": source.url, "targetRevision": source.branch, "path": "{{.path.path}}",
                "directory": {"exclude": EXCLUDED},
            },
            "destination": {"server": site.server, "namespace": _namespace_template(units)},
            "syncPolicy": sync,
            "revisionHistoryLimit": 3,
        },
    }  # fmt: skip
    spec = {
        "goTemplate": True,
        "goTemplateOptions": ["missingkey=error"],
        "generators": [{"git": {"repoURL": source.url, "revision": source.branch, "directories": directories}}],
        "template": template,
    }
    return _document("ApplicationSet", site.project, site, {"app.kubernetes.io/managed-by": "enclii"}, spec)


def _spec(unit: Unit, site: Site, source: Source) -> dict[str, Any]:
    found: dict[str, Any] = {"repoURL": source.url, "targetRevision": source.branch, "path": unit.place.path}
    if unit.tool == "plain":
        # Said in words, else a stray kustomization.yaml would change how the whole directory is read.
        found["directory"] = {"exclude": EXCLUDED}
    return {
        "project": site.project,
        "source": found,
        "destination": {"server": site.server, "namespace": unit.namespace},
        "syncPolicy": _sync_policy(),
        "revisionHistoryLimit": 3,
    }


def _sync_policy() -> dict[str, Any]:
    """Few retries, close together: while Argo CD retries a commit it takes no newer one."""
    return {
        "automated": {"prune": True, "selfHeal": True},
        "syncOptions": ["CreateNamespace=true", "ServerSideApply=true", "FailOnSharedResource=true"],
        "retry": {"limit": 2, "backoff": {"duration": "1s", "factor": 2, "maxDuration": "5s"}},
    }


def _namespace_template(units: Sequence[Unit]) -> str:
    """``<project>-<environment>``, but for the environments that ``project.yaml`` gives another namespace."""
    usual = "{{index .path.segments 0}}-{{index .path.segments 1}}"
    own = {
        f"{unit.place.project}/{unit.place.environment}": unit.namespace
        for unit in units
        if unit.namespace != namespace_of(unit.place.project, unit.place.environment)
    }
    where = '(printf "%s/%s" (index .path.segments 0) (index .path.segments 1))'
    said = [f'{{{{if eq {where} "{path}"}}}}{name}{{{{else}}}}' for path, name in sorted(own.items())]
    return "".join(said) + usual + "{{end}}" * len(said)


def _document(kind: str, name: str, site: Site, labels: dict[str, str], spec: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": site.namespace}
    if labels:
        metadata["labels"] = labels
    return {"apiVersion": GROUP, "kind": kind, "metadata": metadata, "spec": spec}
