"""The one door to OCI registries: manifests, blobs and referrers, every body checked against its digest.

Content is addressed by what it is, so each request may be sent again; the one exception, the list of an image's
referrers on a registry without the referrers API, is written by one writer at a time and read back.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakValueDictionary

from pipeline import attest, images
from pipeline.errors import Conflict, Invalid, NotFound, Refused, Unavailable
from pipeline.images import Descriptor, Manifest
from pipeline.registry_http import Transport, both, not_broken, stored, succeeded, together
from pipeline.registry_login import Account, Credentials

if TYPE_CHECKING:
    from pipeline.registry_connections import URL, Answer

__all__ = ["Credentials", "Registry"]

PAGES = 64
ROUNDS = 12
SETTLED = 0.02
"""Seconds after which an absent tag is absent, not being written."""

KNOWN = 300.0
"""Seconds for which a registry that had no referrers API is not asked for it before something is written."""

REMEMBERED = 10_000
"""Shared blobs in hand; beyond that all are asked for again."""

_ACCEPT = ", ".join((images.OCI_MANIFEST, images.OCI_INDEX, images.DOCKER_MANIFEST, images.DOCKER_INDEX))
_NO_API = frozenset({400, 404, 405, 501})

_writers: WeakValueDictionary[tuple[Any, ...], asyncio.Lock] = WeakValueDictionary()


class Registry:
    """A client of one registry with one pool of connections; ``timeout`` bounds each call with all its retries."""

    def __init__(
        self,
        host: str,
        *,
        plain_http: bool,
        credentials: Credentials | Account | None = None,
        timeout: float = 15.0,
    ) -> None:
        self.host = images.registry_host(host)
        self._http = Transport(host, plain_http=plain_http, credentials=credentials, timeout=timeout)
        self._lacks_api_until = 0.0
        self._holders: dict[str, str] = {}  # digest → a repository that has the blob
        self._shared: set[tuple[str, str]] = set()  # (repository, digest) that was seen to be there

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def manifest(self, repository: str, reference: str) -> Manifest | None:
        """The manifest or index that a tag or digest names; None when there is none."""
        path = f"{_path(repository)}/manifests/{images.reference(reference)}"

        async def get() -> Manifest | None:
            answer = await self._http.request("GET", path, (repository, "pull"), accept=_ACCEPT)
            if answer.status == 404:
                return None
            succeeded(answer, 200)
            return _checked_manifest(answer, reference)

        return await self._http.patiently(get)

    async def put_manifest(self, repository: str, reference: str, media_type: str, body: bytes) -> str:
        """Store ``body`` under a tag or its digest, which is returned."""
        path, digest = f"{_path(repository)}/manifests/{images.reference(reference)}", images.sha256(body)
        if reference.startswith("sha256:") and reference != digest:
            raise Invalid(f"the manifest is not {reference}", reason="wrong_digest")
        headers = {"Content-Type": media_type}

        async def put() -> str:
            stored(await self._http.request("PUT", path, (repository, "push"), body=body, headers=headers))
            return digest

        return await self._http.patiently(put)

    async def delete_manifest(self, repository: str, digest: str) -> None:
        """Remove a manifest; that it is gone already is fine."""
        path = f"{_path(repository)}/manifests/{images.digest(digest)}"

        async def delete() -> None:
            succeeded(await self._http.request("DELETE", path, (repository, "delete")), 202, 200, 404)

        await self._http.patiently(delete)

    async def has_blob(self, repository: str, digest: str) -> bool:
        path = f"{_path(repository)}/blobs/{images.digest(digest)}"

        async def head() -> bool:
            answer = await self._http.request("HEAD", path, (repository, "pull"))
            succeeded(answer, 200, 404)
            return answer.status == 200

        return await self._http.patiently(head)

    async def blob(self, repository: str, digest: str, *, limit: int) -> bytes:
        """The blob's bytes. Raises NotFound, and Invalid when it is larger than ``limit``."""
        path = f"{_path(repository)}/blobs/{images.digest(digest)}"

        async def get() -> bytes:
            answer = await self._http.request("GET", path, (repository, "pull"), limit=limit)
            if answer.status == 404:
                raise NotFound(f"the registry has no blob {digest}", reason="blob_unknown")
            succeeded(answer, 200)
            _same_digest(digest, answer.body)
            return answer.body

        return await self._http.patiently(get)

    async def put_blob(self, repository: str, data: bytes) -> str:
        """Store ``data`` and return its digest; an upload that broke is begun again from the start."""
        digest = images.sha256(data)

        async def upload() -> str:
            access = (repository, "push")
            begun = await self._http.request("POST", f"{_path(repository)}/blobs/uploads/", access)
            succeeded(begun, 202)
            url = self._http.upload_url(begun, f"digest={digest}")
            headers = {"Content-Type": "application/octet-stream"}
            stored(await self._http.request("PUT", url, access, body=data, headers=headers))
            return digest

        return await self._http.patiently(upload)

    async def share_blob(self, repository: str, data: bytes) -> str:
        """As ``put_blob``, for what many repositories hold: taken over from one that has it where the registry can."""
        digest = images.sha256(data)
        held = self._holders.get(digest, "")
        if held in ("", repository) or not await self._mounted(repository, digest, held):
            await self.put_blob(repository, data)
        self._holders[digest] = repository
        return digest

    async def ensure_blob(self, repository: str, data: bytes) -> str:
        """As ``share_blob``, unless the repository has it; what it had once is not asked for again, see ``doubt``."""
        digest = images.sha256(data)
        if (repository, digest) not in self._shared:
            if not await self.has_blob(repository, digest):
                await self.share_blob(repository, data)
            if len(self._shared) >= REMEMBERED:
                self._shared.clear()
            self._shared.add((repository, digest))
        return digest

    def doubt(self, repository: str) -> bool:
        """Have what ``repository`` is remembered to hold asked for again; False when nothing is remembered."""
        known = {one for one in self._shared if one[0] == repository}
        self._shared -= known
        return bool(known)

    async def _mounted(self, repository: str, digest: str, held: str) -> bool:
        """False where the registry begins an upload instead: it may do so for any reason. That upload is ended."""
        path = f"{_path(repository)}/blobs/uploads/?mount={digest}&from={images.repository(held)}"

        async def mount() -> bool:
            try:
                answer = not_broken(await self._http.request("POST", path, (repository, "push")))
            except Refused:  # what opens the one repository need not open the other
                return False
            if answer.status == 202:
                await self._http.request("DELETE", self._http.upload_url(answer), (repository, "push"))
            return answer.status == 201

        return await self._http.patiently(mount)

    async def tags(self, repository: str) -> list[str]:
        """All tags; an unknown repository has none."""
        found: list[str] = []
        async for answer in self._pages(f"{_path(repository)}/tags/list?n=1000", repository):
            if answer.status == 404:
                break
            succeeded(answer, 200)
            tags = _json(answer).get("tags") or []
            if not isinstance(tags, list):
                raise Unavailable("the registry's tags are no list", reason="registry_lied")
            found += [str(tag) for tag in tags]
        return found

    async def referrers(self, repository: str, digest: str) -> list[Descriptor]:
        """What is attached to ``digest``: the referrers API and the fallback tag together, each entry once.

        Entries are not filtered: registries were seen to report another artifact type than the manifest's.
        """
        native, tagged = await together(
            (self._native(repository, digest), self._tagged(repository, images.fallback_tag(digest)))
        )
        entries = [*(native or []), *(tagged or [])]
        return list({one.digest: one for one in entries}.values())

    async def lists_referrers(self, repository: str, digest: str) -> bool:
        """Whether the registry has the referrers API; without it the fallback tag lists what is attached."""
        return await self._native(repository, digest) is not None

    async def list_referrers(
        self,
        repository: str,
        digest: str,
        descriptors: Sequence[Descriptor],
        *,
        store: Callable[[], Coroutine[Any, Any, None]],
    ) -> set[str]:
        """Have ``descriptors``, whose manifests ``store`` stores, listed as referrers of ``digest``.

        Returns the digests of those that were listed before. Whether other writers left the list as it was written is
        for the caller to see; ``add_referrers`` does both.
        """
        tag, begun = images.fallback_tag(digest), time.monotonic()
        async with self._only_writer(repository, digest):
            known = both(self._native_if_any(repository, digest), self.manifest(repository, tag))
            (native, early), _ = await both(known, store())
            if native is not None:  # storing the manifests has listed them
                return {one.digest for one in native}
            index = await self._index(repository, tag, absent_since=None if early else begun)
            wanted = attest.merged_index(index.body if index else None, descriptors)
            if wanted is not None:
                await self.put_manifest(repository, tag, images.OCI_INDEX, wanted)
            return {str(one["digest"]) for one in attest.index_entries(index.body)} if index else set()

    async def add_referrers(self, repository: str, digest: str, descriptors: Sequence[Descriptor]) -> None:
        """Have ``descriptors``, whose manifests are stored, listed as referrers of ``digest``, and see that they are.

        Raises Conflict when other writers undo it again and again.
        """
        async with self._only_writer(repository, digest):
            for attempt in range(ROUNDS):
                if await self._add_missing(repository, digest, descriptors):
                    return
                if attempt:
                    await asyncio.sleep(random.uniform(0, 0.05 * attempt))  # noqa: S311 - it only parts two writers
        raise Conflict(f"other writers keep changing the referrers of {digest}", reason="referrers_contended")

    def _only_writer(self, repository: str, digest: str) -> asyncio.Lock:
        key = (asyncio.get_running_loop(), self.host, repository, digest)
        return _writers.setdefault(key, asyncio.Lock())

    async def _add_missing(self, repository: str, digest: str, descriptors: Sequence[Descriptor]) -> bool:
        """True when nothing was missing; otherwise what was missing has been written once more."""
        native = await self._native_if_any(repository, digest)
        if native is None:
            return await self._add_to_tag(repository, digest, descriptors)
        present = {one.digest for one in native}
        missing = [one for one in descriptors if one.digest not in present]
        # Storing a manifest again makes the registry list it: also one that only the fallback tag listed so far.
        await together(self._store_again(repository, one.digest) for one in missing)
        return not missing

    async def _add_to_tag(self, repository: str, digest: str, descriptors: Sequence[Descriptor]) -> bool:
        tag = images.fallback_tag(digest)
        existing = await self._index(repository, tag)
        index = attest.merged_index(existing.body if existing else None, descriptors)
        if index is None:
            return True
        await self.put_manifest(repository, tag, images.OCI_INDEX, index)
        return False

    async def _store_again(self, repository: str, digest: str) -> None:
        manifest = await self.manifest(repository, digest)
        if manifest is None:
            raise Invalid(f"the registry has no manifest {digest} to list", reason="manifest_unknown")
        await self.put_manifest(repository, digest, manifest.media_type, manifest.body)

    async def _native(self, repository: str, digest: str) -> list[Descriptor] | None:
        """The referrers API's list; None where the registry has no such API."""
        self._lacks_api_until = 0.0
        found: list[Descriptor] = []
        async for answer in self._pages(f"{_path(repository)}/referrers/{images.digest(digest)}", repository):
            if answer.status in _NO_API or (answer.status == 200 and answer.media_type != images.OCI_INDEX):
                self._lacks_api_until = time.monotonic() + KNOWN
                return None
            succeeded(answer, 200)
            found += [attest.descriptor(entry) for entry in attest.index_entries(answer.body)]
        return found

    async def _native_if_any(self, repository: str, digest: str) -> list[Descriptor] | None:
        """As ``_native``; a registry that had no such API a moment ago is not asked again."""
        return None if time.monotonic() < self._lacks_api_until else await self._native(repository, digest)

    async def _tagged(self, repository: str, tag: str) -> list[Descriptor] | None:
        """The fallback tag's list; None where there is no such tag."""
        index = await self._index(repository, tag)
        return [attest.descriptor(entry) for entry in attest.index_entries(index.body)] if index else None

    async def _index(self, repository: str, tag: str, *, absent_since: float | None = None) -> Manifest | None:
        """The manifest under the fallback tag. While a tag is written a registry was seen to answer for a moment that
        it does not exist; believed, that would make a signed image unsigned, or the next writer drop every entry.

        ``absent_since``: the moment (time.monotonic's) at which it was asked for before, and was absent."""
        found = await self.manifest(repository, tag)
        if found or (absent_since is not None and time.monotonic() - absent_since > SETTLED):
            return found
        await asyncio.sleep(SETTLED)
        return await self.manifest(repository, tag)

    async def _pages(self, path: str, repository: str) -> AsyncIterator[Answer]:
        url: str | URL | None = path
        for _ in range(PAGES):
            if url is None:
                return
            answer = await self._http.patiently(partial(self._get_page, url, repository))
            yield answer
            url = self._next_page(answer)
        raise Invalid("the registry's list has no end", reason="list_too_long")

    async def _get_page(self, url: str | URL, repository: str) -> Answer:
        return not_broken(await self._http.request("GET", url, (repository, "pull"), accept=images.OCI_INDEX))

    def _next_page(self, answer: Answer) -> URL | None:
        url, separator, rest = answer.headers.get("link", "").partition(">")
        if answer.status != 200 or not separator or "next" not in rest:
            return None
        return self._http.allowed(answer.url, url.lstrip(" <"))


def _path(repository: str) -> str:
    return f"/v2/{images.repository(repository)}"


def _checked_manifest(answer: Answer, reference: str) -> Manifest:
    claimed = reference if reference.startswith("sha256:") else answer.headers.get("docker-content-digest")
    digest = images.sha256(answer.body)
    if claimed:
        _same_digest(claimed, answer.body)
    return Manifest(digest, answer.media_type, answer.body)


def _same_digest(digest: str, body: bytes) -> None:
    if images.sha256(body) != digest:
        raise Unavailable(f"the registry answered other content than {digest[:80]}", reason="registry_lied")


def _json(answer: Answer) -> dict[str, Any]:
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise Unavailable("the registry's list is not JSON", reason="registry_lied")
    return document
