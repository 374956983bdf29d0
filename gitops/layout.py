"""Where things lie in the config repository: ``<project>/<environment>/<service>/`` and ``<project>/project.yaml``.

Paths are built from checked names alone, and a path that does not have this shape is of no interest to Enclii.
"""

from __future__ import annotations

from typing import NamedTuple

from pipeline import names
from pipeline.errors import Invalid

PROJECT_FILE = "project.yaml"
HOLD_FILE = "hold.yaml"
SECRETS_FILE = "secrets.yaml"
SCALE_FILE = "scale.yaml"
ORPHANED_FILE = "orphaned.yaml"
TARGETS_FILE = "enclii-targets.yaml"
NOTES = frozenset({HOLD_FILE, SECRETS_FILE, SCALE_FILE, ORPHANED_FILE})
"""What commands and pushes said of a service; each commit of Enclii's writes them anew."""
APART = NOTES | {TARGETS_FILE}
"""Enclii's own files beside the manifests; no cluster is ever given them."""
ACCOUNT_FILE = "serviceaccount.yaml"
AUTOSCALER_FILE = "autoscaler.yaml"
DENY_FILE = "networkpolicy-deny.yaml"
DEPLOYMENT_FILE = "deployment.yaml"
DISRUPTION_FILE = "disruptionbudget.yaml"
EXTERNAL_FILE = "externalsecret.yaml"
INGRESS_FILE = "ingress.yaml"
NETWORK_POLICY_FILE = "networkpolicy.yaml"
LIMITS_FILE = "limitrange.yaml"
QUOTA_FILE = "resourcequota.yaml"
RELEASE_JOB_FILE = "release.yaml"
ROUTE_FILE = "httproute.yaml"
SERVICE_FILE = "service.yaml"


class Place(NamedTuple):
    """One service in one environment of one project."""

    project: str
    environment: str
    service: str

    @property
    def path(self) -> str:
        return "/".join(self)

    def __str__(self) -> str:
        return f"{self.project}/{self.service} in {self.environment}"


def place(project: str, environment: str, service: str) -> Place:
    """The place of three names. Raises Invalid."""
    return Place(
        names.name(project, what="project"),
        names.name(environment, what="environment"),
        names.name(service, what="service"),
    )


def place_of(path: str) -> Place | None:
    """The place whose directory ``path`` is, or None when a part of it is not a name."""
    parts = path.split("/")
    if len(parts) != 3:
        return None
    try:
        return place(*parts)
    except Invalid:
        return None


def project_file(project: str) -> str:
    """The path of a project's ``project.yaml``. Raises Invalid."""
    return f"{names.name(project, what='project')}/{PROJECT_FILE}"


def is_manifest(filename: str) -> bool:
    """True for the files of a service's directory that are applied to a cluster."""
    return filename.endswith((".yaml", ".yml")) and filename not in APART and not filename.startswith(".")
