"""Adopting what runs: the wish gets the manifest of the Deployment, which the syncer reads from its cluster."""

from __future__ import annotations

import msgspec

from gitops.clusters.relay import AskManifest, Relayed
from pipeline import names
from pipeline.bus import Bus
from pipeline.errors import Invalid
from pipeline.events import AdoptRequested

MANIFEST_LIMIT = 256 << 10


async def read(bus: Bus, event: AdoptRequested) -> AdoptRequested:
    """The wish with the manifest. Raises Invalid, Refused, Unavailable."""
    namespace, _, deployment = event.running.partition("/")
    if event.path or not event.cluster:
        raise Invalid("running: NAMESPACE/DEPLOYMENT with its cluster, and no path", reason="bad_field")
    for text in (namespace, deployment, event.cluster):
        names.name(text, what="running")
    asked = AskManifest(
        project=event.project, environment=event.environment, service=event.service, cluster=event.cluster,
        namespace=namespace, name=deployment,
    )  # fmt: skip
    found = await Relayed(bus).manifest(asked)
    if len(found) > MANIFEST_LIMIT:
        raise Invalid("the manifest is larger than 256 KiB", reason="bad_field")
    return msgspec.structs.replace(event, manifest=found)
