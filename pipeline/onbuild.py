"""Whether a base image brings steps of its own (``ONBUILD``) that mount something: the Dockerfile does not show them.

Such a step is cached by its text, though its result hangs on what was mounted. What cannot be found out counts as yes:
that costs a cached step, and no would let one trust class run what another left.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any

from pipeline.dockerfile import full_reference
from pipeline.errors import EncliiError
from pipeline.image_user import CONFIG_LIMIT
from pipeline.images import Manifest
from pipeline.registries import Registries
from pipeline.registry import Registry
from pipeline.registry_http import together

PATIENCE = 5.0
"""Seconds for all the questions about one image."""
MEMBERS = 32
KNOWN = 1024

Mounting = Callable[[str], Coroutine[Any, Any, bool]]
"""An image's reference → whether one of its triggers may mount something."""


def asker(registries: Registries) -> Mounting:
    """Asks each image's registry, its mirrors first; an answer is kept by the image's digest."""
    return partial(_mounting, registries, {})


async def _mounting(registries: Registries, known: dict[str, bool], image: str) -> bool:
    host, _, rest = full_reference(image).partition("/")
    name, _, digest = rest.partition("@")
    repository, _, tag = name.partition(":")
    for place in registries.places(host):
        try:
            async with asyncio.timeout(PATIENCE), registries.client(place) as registry:
                manifest = await registry.manifest(repository, digest or tag or "latest")
                if manifest is None:
                    continue
                if manifest.digest not in known:
                    found = await _any_trigger(registry, repository, manifest)
                    if len(known) >= KNOWN:
                        known.clear()
                    known[manifest.digest] = found
                return known[manifest.digest]
        except (EncliiError, TimeoutError, ValueError, AttributeError):  # also what is no image at all
            continue
    return True


async def _any_trigger(registry: Registry, repository: str, manifest: Manifest) -> bool:
    """Of the image, or of each member of its index."""
    document = json.loads(manifest.body)
    members = _digests(document.get("manifests"))
    if len(members) > MEMBERS:
        return True
    if members:
        return any(await together(_member(registry, repository, digest) for digest in members))
    configuration = _digests([document.get("config")])
    if not configuration:
        return True
    return _mounts(json.loads(await registry.blob(repository, configuration[0], limit=CONFIG_LIMIT)))


async def _member(registry: Registry, repository: str, digest: str) -> bool:
    manifest = await registry.manifest(repository, digest)
    return manifest is None or await _any_trigger(registry, repository, manifest)


def _digests(entries: Any) -> list[str]:
    found: Iterable[Any] = entries if isinstance(entries, list) else ()
    return [str(one["digest"]) for one in found if isinstance(one, dict) and one.get("digest")]


def _mounts(image: Any) -> bool:
    config = image.get("config") if isinstance(image, dict) else None
    triggers = config.get("OnBuild") if isinstance(config, dict) else None
    return "--mount" in json.dumps(triggers)
