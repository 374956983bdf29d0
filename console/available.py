"""Whether the registry still has the images of releases: asked for each at once, within a short time for all."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from pipeline.errors import EncliiError, Unavailable
from pipeline.images import ImageRef
from pipeline.registry import Registry

LIMIT: Final = 2.0
AT_ONCE: Final = 8


async def available(registry: Registry, releases: list[dict[str, Any]]) -> None:
    """Say of each release whether the registry has its image's manifest; None when nobody could say in time."""
    found = await _available(registry, [one["image_uri"] for one in releases])
    for one in releases:
        one["available"] = found[one["image_uri"]]


async def _available(registry: Registry, images: list[str]) -> dict[str, bool | None]:
    found: dict[str, bool | None] = dict.fromkeys(images)
    gate = asyncio.Semaphore(AT_ONCE)

    async def ask(image: str) -> None:
        async with gate:
            try:
                found[image] = await _is_there(registry, image)
            except EncliiError:
                return

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask(image)) for image in found]
        await asyncio.wait(tasks, timeout=LIMIT) if tasks else None
        for task in tasks:
            task.cancel()
    return found


async def _is_there(registry: Registry, image: str) -> bool:
    named = ImageRef.parse(image)
    if named.registry != registry.host:
        raise Unavailable(f"{named.registry} is another registry", reason="other_registry")
    return await registry.manifest(named.repository, named.digest) is not None
