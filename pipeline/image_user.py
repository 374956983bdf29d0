"""Which user an image says that it runs as (OCI image configuration, ``config.User``)."""

from __future__ import annotations

import json
from typing import Any

from pipeline.images import Manifest
from pipeline.registry import Registry

CONFIG_LIMIT = 4 << 20


async def image_user(registry: Registry, repository: str, image: Manifest) -> str:
    """The user as written, a number or a name, with a group or without; "" for none, and for what is unreadable.

    Raises Unavailable when the registry does not answer.
    """
    digest = _config_digest(_read(image.body))
    if not digest:
        return ""
    found = _read(await registry.blob(repository, digest, limit=CONFIG_LIMIT))
    config = found.get("config")
    user = config.get("User", "") if isinstance(config, dict) else ""
    return user if isinstance(user, str) and len(user) <= 100 else ""


def _config_digest(manifest: dict[str, Any]) -> str:
    config = manifest.get("config")
    digest = config.get("digest", "") if isinstance(config, dict) else ""
    return digest if isinstance(digest, str) else ""


def _read(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
