"""What ``doctor`` finds out about the stores: does each answer, keep what it is given, and is it on the disk?

Every check ends within its deadline, raises nothing, and says of each finding how to mend it.
"""

from __future__ import annotations

import asyncio
import http.client
import secrets
from typing import Final
from urllib.parse import urlsplit

from console.stream_checks import check_room
from gitops.clusters import Finding
from pipeline import attest, durability, images
from pipeline.errors import EncliiError
from pipeline.registry import Registry
from pipeline.settings import MAY_LOSE

LIMIT: Final = 20.0
PROBE: Final = "enclii/doctor"
PROBE_LIMIT: Final = 1 << 10
BUNDLE: Final = b"{}"
ANSWER_LIMIT: Final = 5.0
LOOK: Final = "see its log in the state folder's logs/; enclii down && enclii up -d"


async def stores(*, monitors: str, durable: str, registry: Registry, githost: str) -> tuple[Finding, ...]:
    """NATS, the registry and the git host, asked at the same time."""
    found = await asyncio.gather(
        check_nats(monitors, durable), check_room(monitors), check_registry(registry), check_githost(githost)
    )
    return tuple(finding for some in found for finding in some)


async def check_nats(monitors: str, durable: str) -> list[Finding]:
    """Whether each server syncs before it acknowledges."""
    try:
        servers = await durability.nats_syncs(monitors)
    except EncliiError as error:
        return [Finding("error", "NATS", error.message, LOOK)]
    weak = "warning" if durable == MAY_LOSE else "error"
    return [
        Finding("ok", "NATS durability", one.told())
        if one.always
        else Finding(weak, "NATS durability", one.told(), durability.FIX_NATS)  # type: ignore[arg-type]
        for one in servers
    ]


async def check_registry(registry: Registry) -> list[Finding]:
    """Whether the registry takes what is pushed, gives it back, and lists what is attached to an image; ``registry``
    is closed afterwards.
    """
    host = registry.host
    data = b"enclii doctor " + secrets.token_hex(8).encode()
    try:
        async with asyncio.timeout(LIMIT), registry as client:
            digest = await client.put_blob(PROBE, data)
            same = await client.blob(PROBE, digest, limit=PROBE_LIMIT) == data
            way = await _attached(client)
    except TimeoutError:
        return [Finding("error", "registry", f"{host} did not answer within {LIMIT:g} s", LOOK)]
    except EncliiError as error:
        return [Finding("error", "registry", error.message, f"is a registry at {host}, and this its account? {LOOK}")]
    if not same:
        return [Finding("error", "registry", f"{host} gave back other bytes than it was given", LOOK)]
    return [
        Finding("ok", "registry", f"{host} takes what is pushed and gives it back"),
        Finding("ok", "registry referrers", f"what is attached to an image is listed, by {way}")
        if way
        else Finding("error", "registry referrers", f"{host} does not list what was attached to an image", LOOK),
    ]


async def _attached(client: Registry) -> str:
    """Push a small image, attach something to it and look for it: by which way it was found, empty when by none.

    It is the same image each time, so the registry does not grow by it.
    """
    await asyncio.gather(*(client.put_blob(PROBE, blob) for blob in (attest.EMPTY, BUNDLE)))
    empty = {"mediaType": images.OCI_EMPTY, "digest": images.sha256(attest.EMPTY), "size": len(attest.EMPTY)}
    body = attest.compact({"schemaVersion": 2, "mediaType": images.OCI_MANIFEST, "config": empty, "layers": [empty]})
    image = await client.put_manifest(PROBE, images.sha256(body), images.OCI_MANIFEST, body)
    added = attest.referrer(images.Descriptor(images.OCI_MANIFEST, image, len(body)), BUNDLE, "doctor")
    await client.put_manifest(PROBE, added.digest, added.media_type, added.body)
    await client.add_referrers(PROBE, image, [images.Descriptor(added.media_type, added.digest, len(added.body))])
    if added.digest not in {one.digest for one in await client.referrers(PROBE, image)}:
        return ""
    native = await client.lists_referrers(PROBE, image)
    return "the referrers API" if native else "the fallback tag, for the registry has no referrers API"


async def check_githost(url: str) -> list[Finding]:
    """Whether the git host answers, and whether git can sync what it accepts."""
    try:
        status = await asyncio.to_thread(_status, url)
    except (OSError, http.client.HTTPException) as error:
        text = f"{url} does not answer: {error or type(error).__name__}"
        return [Finding("error", "git host", text, LOOK)]
    found = [Finding("ok", "git host", f"{url} answers ({status})")]
    try:
        version = await durability.git_version()
    except EncliiError as error:
        return [*found, Finding("error", "git durability", error.message, durability.FIX_GIT)]
    told = f"git {'.'.join(map(str, version))}"
    if version < durability.GIT_THAT_SYNCS:
        return [*found, Finding("error", "git durability", f"{told} knows no core.fsync", durability.FIX_GIT)]
    return [*found, Finding("ok", "git durability", f"{told} syncs what it accepts (core.fsync=all)")]


def _status(url: str) -> int:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=ANSWER_LIMIT)
    try:
        connection.request("GET", f"{parts.path}/enclii/config.git/info/refs?service=git-upload-pack")
        return connection.getresponse().status
    finally:
        connection.close()
