"""Which manifests a registry holds in the repositories that Enclii writes, with what they name and lie beside.

Tags are all that a registry lists. From them follow the members of indexes and, by the list of referrers, what lies
beside an image; an image that lost its tags is still found by the tags of its evidence.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pipeline import retention
from pipeline.images import Manifest
from pipeline.registry import Registry
from pipeline.retention import Held

AT_ONCE = 8

T = TypeVar("T")


async def inventory(registry: Registry, repositories: Iterable[str]) -> list[Held]:
    """Everything in ``repositories``; one that the registry does not know is empty. Raises Unavailable, Refused."""
    reader = _Reader(registry, asyncio.Semaphore(AT_ONCE))
    found = [await reader.repository(name) for name in sorted(set(repositories))]
    return [one for of_repository in found for one in of_repository]


@dataclass(frozen=True)
class _Reader:
    registry: Registry
    turns: asyncio.Semaphore

    async def repository(self, name: str) -> list[Held]:
        found: dict[str, Held] = {}
        for one in await self._tagged(name):
            known = found.get(one.digest)
            tags = tuple(sorted({*one.tags, *(known.tags if known else ())}))
            found[one.digest] = replace(one, tags=tags, beside=_beside(tags))
        await self._add(name, found, [one.beside for one in found.values()], "")
        await self._members(name, found)
        if not name.endswith(retention.CACHE):
            await self._referrers(name, found)
        return list(found.values())

    async def _tagged(self, name: str) -> list[Held]:
        tags = await self.registry.tags(name)
        read = await asyncio.gather(*(self._read(name, tag) for tag in tags))
        return [replace(one, tags=(tag,)) for tag, one in zip(tags, read, strict=True) if one is not None]

    async def _members(self, name: str, found: dict[str, Held]) -> None:
        """What indexes list; the list of referrers is one too, and what it lists lies beside the same image."""
        waiting = list(found.values())
        while waiting:
            before = set(found)
            of_image: dict[str, list[str]] = defaultdict(list)
            for one in waiting:
                of_image[one.beside] += one.members
            for beside, members in of_image.items():
                await self._add(name, found, members, beside)
            waiting = [one for digest, one in found.items() if digest not in before]

    async def _referrers(self, name: str, found: dict[str, Held]) -> None:
        subjects = [one.digest for one in found.values() if not one.beside]
        listed = await asyncio.gather(*(self._turn(self.registry.referrers(name, digest)) for digest in subjects))
        for subject, entries in zip(subjects, listed, strict=True):
            await self._add(name, found, [one.digest for one in entries], subject)

    async def _add(self, name: str, found: dict[str, Held], digests: Iterable[str], beside: str) -> None:
        wanted = [digest for digest in dict.fromkeys(digests) if digest and digest not in found]
        for one in await asyncio.gather(*(self._read(name, digest) for digest in wanted)):
            if one is not None:
                found[one.digest] = replace(one, beside=beside)

    async def _read(self, name: str, reference: str) -> Held | None:
        manifest = await self._turn(self.registry.manifest(name, reference))
        return held(name, manifest) if manifest else None

    async def _turn(self, work: Awaitable[T]) -> T:
        async with self.turns:
            return await work


def held(repository: str, manifest: Manifest) -> Held:
    """What a manifest or an index names. What cannot be read names nothing."""
    document = _document(manifest.body)
    members = _descriptors(document.get("manifests"))
    blobs = {**_descriptors(document.get("layers")), **_descriptors([document.get("config")]), **members}
    return Held(
        repository, manifest.digest, blobs={**blobs, manifest.digest: len(manifest.body)}, members=tuple(members)
    )


def _document(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _descriptors(value: Any) -> dict[str, int]:
    entries = [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
    return {str(one["digest"]): int(one["size"]) for one in entries if "digest" in one and type(one.get("size")) is int}


def _beside(tags: Iterable[str]) -> str:
    """The image that all tags of a manifest lie beside; with any other tag it is no mere evidence."""
    found = {retention.beside(tag) for tag in tags}
    return found.pop() if len(found) == 1 else ""
