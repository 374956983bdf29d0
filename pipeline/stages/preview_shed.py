"""What a preview leaves in the registry is deleted as a whole: its images have paths of their own, its caches tags."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline import retention
from pipeline.inventory import inventory
from pipeline.previews import Preview, repository_of
from pipeline.records import Job, Run
from pipeline.registry import Registry
from pipeline.retention import Held
from pipeline.store import Store


@dataclass(frozen=True)
class Shedder:
    """The registry, and the records that name what was ever built."""

    store: Store
    registry: Registry

    async def __call__(self, preview: Preview) -> int:
        """Delete every manifest of the preview's paths; how many the registry still has then. Raises Unavailable."""
        paths = await self.paths(preview)
        held = [*await inventory(self.registry, paths), *await self._caches(preview, paths)]
        for rank in sorted({retention.turn(one) for one in held}):
            for one in held:
                if retention.turn(one) == rank:
                    await self.registry.delete_manifest(one.repository, one.digest)
        if not held:
            return 0
        return len(await inventory(self.registry, paths)) + len(await self._caches(preview, paths))

    async def _caches(self, preview: Preview, paths: set[str]) -> list[Held]:
        """Build caches that this preview alone has written; one that is main's too stays, whatever it is tagged."""
        places = {f"{path.partition('/previews/')[0]}{retention.CACHE}" for path in paths}
        return [
            one for one in await inventory(self.registry, places)
            if one.tags and {retention.scope_of(tag) for tag in one.tags} == {preview.environment}
        ]  # fmt: skip

    async def paths(self, preview: Preview) -> set[str]:
        """Of every service that one of its runs has built, also of one that the newest head does not have."""
        runs = {
            run.id for run in await self.store.all(Run)
            if run.preview and (run.project, run.preview.environment) == (preview.project, preview.environment)
        }  # fmt: skip
        services = {job.service for job in await self.store.all(Job) if job.run in runs}
        services |= {service.name for service in preview.services}
        return {repository_of(preview.project, service, preview.environment) for service in services}
