"""``enclii diff``: what an apply of what git says would change in the cluster, asked of the cluster by a dry run."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from gitops.clusters import ServiceRef, Wanted
from gitops.syncing.desired import Desired
from gitops.syncing.placement import Clusters
from pipeline.errors import NotFound, Refused
from pipeline.records import Deployment, Target
from pipeline.store import Store


@runtime_checkable
class Comparing(Protocol):
    """A cluster that can tell what it would do without doing it."""

    async def difference(self, wanted: Wanted) -> tuple[str, ...]:
        """One line for each field, object and deletion."""
        ...


async def difference(store: Store, clusters: Clusters, desired: Desired, ref: ServiceRef) -> tuple[str, ...]:
    """The lines for one service. Raises NotFound, Refused where the cluster cannot tell, Unavailable."""
    target = await store.get(Target, ref.project, ref.environment, ref.service)
    if target is None or not target.record.deployment:
        raise NotFound(f"git wants nothing of {ref}", reason="not_deployed")
    deployment = await store.get(Deployment, target.record.deployment)
    cluster = await clusters.of(ref)
    if deployment is None or not isinstance(cluster, Comparing):
        raise Refused(
            f"{ref} is on a cluster that has no dry run (podman): enclii status compares it with git",
            reason="no_dry_run",
        )
    return await cluster.difference(clusters.placed(await desired.wanted(deployment.record)))
