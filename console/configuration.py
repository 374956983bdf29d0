"""What a service is configured with: plain values and secrets' versions, as git wants them and as they run."""

from __future__ import annotations

from typing import Any

import msgspec

from console import queries, texts
from console.projection import Projection
from pipeline.errors import Invalid
from pipeline.records import Deployment, Live, Release, Target
from pipeline.servicefile import ServiceSpec

Value = dict[str, Any]


def configuration(db: Projection, project: str, environment: str, service: str) -> Value:
    """Both sides; one that does not exist is null. Raises NotFound, Invalid."""
    queries.check_scope(db, project, environment, service)
    if not environment:
        raise Invalid("environment: which one?", reason="no_environment")
    target = db.get(Target, project, environment, service)
    live = db.get(Live, project, environment, service)
    wanted = db.get(Deployment, target.deployment) if target and target.deployment else None
    running = db.get(Deployment, live.deployment) if live and live.deployment else None
    return {
        "project": project,
        "environment": environment,
        "service": service,
        "wanted": _side(db, wanted, environment),
        "live": _side(db, running, environment),
    }


def _side(db: Projection, found: Deployment | None, environment: str) -> Value | None:
    release = db.get(Release, found.release) if found and found.release else None
    if found is None or release is None:
        return None
    spec = msgspec.json.decode(release.spec, type=ServiceSpec).for_environment(environment)
    elsewhere = {**spec.external_secrets, **spec.existing_secrets}
    secrets = {name: f"v{found.secrets[name]}" for name in spec.secrets if name in found.secrets}
    return {"version": texts.version(release.id), "env": spec.env, "secrets": secrets | elsewhere}
