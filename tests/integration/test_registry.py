"""The client against a real registry, and against sockets that do what a registry must not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import attest, images
from pipeline.errors import Invalid, NotFound, Refused, Unavailable
from pipeline.images import OCI_MANIFEST, Descriptor, ImageRef
from pipeline.registry import Credentials, Registry
from tests.support.registry import push_image, running_registry

Run = Callable[[Coroutine[Any, Any, Any]], Any]
ABSENT = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


def _client(host: str, **more: Any) -> Registry:
    return Registry(host, plain_http=True, **more)


async def _attached(registry: Registry, image: ImageRef, number: int) -> Descriptor:
    """A stored referrer of ``image`` that no list names yet."""
    bundle = b'{"number":%d}' % number
    await asyncio.gather(*(registry.put_blob(image.repository, blob) for blob in (attest.EMPTY, bundle)))
    manifest = attest.referrer(Descriptor(OCI_MANIFEST, image.digest, 1), bundle, "test")
    await registry.put_manifest(image.repository, manifest.digest, manifest.media_type, manifest.body)
    return manifest.descriptor()


def test_a_manifest_is_read_by_tag_and_by_digest(host: str, run: Run) -> None:
    async def story() -> None:
        async with _client(host) as registry:
            image = await push_image(registry, "registry/read")
            by_tag = await registry.manifest(image.repository, "v1")
            by_digest = await registry.manifest(image.repository, image.digest)
        assert by_tag == by_digest
        assert by_tag is not None
        assert (by_tag.digest, by_tag.media_type) == (image.digest, OCI_MANIFEST)

    run(story())


def test_what_is_not_there_is_said_to_be_absent(host: str, run: Run) -> None:
    async def story() -> None:
        async with _client(host) as registry:
            assert await registry.manifest("registry/none", "v1") is None
            assert await registry.tags("registry/none") == []
            assert await registry.referrers("registry/none", ABSENT) == []
            assert not await registry.has_blob("registry/none", ABSENT)
            await registry.delete_manifest("registry/none", ABSENT)
            with pytest.raises(NotFound):
                await registry.blob("registry/none", ABSENT, limit=10)

    run(story())


def test_a_blob_is_stored_once_or_twice_and_read_up_to_a_limit(host: str, run: Run) -> None:
    async def story() -> None:
        async with _client(host) as registry:
            digests = [await registry.put_blob("registry/blob", b"x" * 1000) for _ in range(2)]
            assert digests[0] == digests[1]
            assert await registry.has_blob("registry/blob", digests[0])
            assert await registry.blob("registry/blob", digests[0], limit=1000) == b"x" * 1000
            with pytest.raises(Invalid) as caught:
                await registry.blob("registry/blob", digests[0], limit=999)
            assert caught.value.reason == "too_large"

    run(story())


def test_a_shared_blob_is_in_each_repository_that_it_was_stored_in(host: str, run: Run) -> None:
    async def story() -> None:
        async with _client(host) as registry:
            for name in ("one", "two", "three"):
                digest = await registry.share_blob(f"registry/shared-{name}", b"shared")
                assert await registry.blob(f"registry/shared-{name}", digest, limit=6) == b"shared"

    run(story())


def test_an_empty_blob_is_a_blob(host: str, run: Run) -> None:
    async def story() -> None:
        async with _client(host) as registry:
            assert await registry.blob("registry/empty", await registry.put_blob("registry/empty", b""), limit=0) == b""

    run(story())


def test_tags_come_page_by_page_and_a_deleted_manifest_is_gone(host: str, run: Run) -> None:
    async def story() -> None:
        async with _client(host) as registry:
            image = await push_image(registry, "registry/tags", tag="a")
            await push_image(registry, "registry/tags", tag="b")
            assert sorted(await registry.tags("registry/tags")) == ["a", "b"]
            await registry.delete_manifest("registry/tags", image.digest)
            assert await registry.manifest("registry/tags", image.digest) is None

    run(story())


def test_a_manifest_whose_blobs_are_missing_is_rejected_with_the_registrys_word(host: str, run: Run) -> None:
    async def story() -> None:
        async with _client(host) as registry:
            manifest = attest.referrer(Descriptor(OCI_MANIFEST, ABSENT, 1), b"nowhere", "test")
            with pytest.raises(Invalid, match="MANIFEST_BLOB_UNKNOWN") as caught:
                await registry.put_manifest("registry/holes", manifest.digest, manifest.media_type, manifest.body)
        assert caught.value.reason == "registry_rejected"

    run(story())


def test_names_from_outside_never_reach_the_address(host: str, run: Run) -> None:
    async def story() -> None:
        async with _client(host) as registry:
            for repository, reference in (("../x", "v1"), ("a?b", "v1"), ("A", "v1"), ("a", "../v1"), ("a", "v1#x")):
                with pytest.raises(Invalid):
                    await registry.manifest(repository, reference)
        for name in ("host/path", "user@host", "host:port", ""):
            with pytest.raises(Invalid):
                _client(name)

    run(story())


def test_referrers_are_listed_each_once_however_often_they_are_added(host: str, run: Run) -> None:
    async def story() -> None:
        async with _client(host) as registry:
            image = await push_image(registry, "registry/referrers")
            one = await _attached(registry, image, 1)
            for _ in range(2):
                await registry.add_referrers(image.repository, image.digest, [one])
            assert [entry.digest for entry in await registry.referrers(image.repository, image.digest)] == [one.digest]

    run(story())


def test_of_many_writers_at_once_none_is_lost(host: str, run: Run) -> None:
    async def story() -> None:
        async with _client(host) as first, _client(host) as second:
            image = await push_image(first, "registry/race")
            added = await asyncio.gather(*(_attached(first, image, number) for number in range(12)))
            await asyncio.gather(
                *(
                    (first, second)[number % 2].add_referrers(image.repository, image.digest, [one])
                    for number, one in enumerate(added)
                )
            )
            listed = {one.digest for one in await first.referrers(image.repository, image.digest)}
        assert listed == {one.digest for one in added}

    run(story())


def test_a_fallback_tag_that_is_no_index_is_left_alone(host: str, run: Run) -> None:
    async def story() -> None:
        async with _client(host) as registry:
            image = await push_image(registry, "registry/squatted")
            squatter = await push_image(registry, image.repository, tag=images.fallback_tag(image.digest), content=b"x")
            with pytest.raises(Invalid) as caught:
                await registry.add_referrers(image.repository, image.digest, [await _attached(registry, image, 1)])
            left = await registry.manifest(image.repository, images.fallback_tag(image.digest))
        assert caught.value.reason == "malformed_index"
        assert left is not None
        assert left.digest == squatter.digest

    run(story())


def test_a_registry_that_is_down_is_unavailable_and_works_again_when_it_is_back(tmp_path: Path, run: Run) -> None:
    async def digest_of(host: str, limit: float) -> str:
        async with _client(host, timeout=limit) as registry:
            found = await registry.manifest("registry/back", "v1")
            return found.digest if found else ""

    async def pushed(host: str) -> str:
        async with _client(host) as registry:
            return (await push_image(registry, "registry/back")).digest

    with running_registry(tmp_path) as host:
        digest = run(pushed(host))
    with pytest.raises(Unavailable) as caught:
        run(digest_of(host, 3.0))
    with running_registry(tmp_path, port=int(host.rpartition(":")[2])):
        assert run(digest_of(host, 60.0)) == digest
    assert caught.value.reason == "registry_unreachable"


def test_a_connection_that_the_registry_dropped_meanwhile_is_opened_again(tmp_path: Path, run: Run) -> None:
    async def story() -> None:
        first = running_registry(tmp_path)
        host = first.__enter__()
        async with _client(host) as registry:
            image = await push_image(registry, "registry/again")
            first.__exit__(None, None, None)
            with running_registry(tmp_path, port=int(host.rpartition(":")[2])):
                found = await registry.manifest(image.repository, "v1")
        assert found is not None
        assert found.digest == image.digest

    run(story())


# bcrypt of "correct horse", made for this test alone
_HTPASSWD = "builder:$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2\n"


def test_a_password_is_asked_for_and_a_wrong_one_refused(tmp_path: Path, run: Run) -> None:
    (tmp_path / "htpasswd").write_text(_HTPASSWD)
    auth = {"htpasswd": {"realm": "test", "path": str(tmp_path / "htpasswd")}}

    async def push(host: str, credentials: Credentials | None) -> str:
        async with _client(host, credentials=credentials) as registry:
            return (await push_image(registry, "registry/private")).digest

    with running_registry(tmp_path, auth=auth) as host:
        assert run(push(host, Credentials("builder", "correct horse"))).startswith("sha256:")
        for wrong in (None, Credentials("builder", "battery staple")):
            with pytest.raises(Refused) as caught:
                run(push(host, wrong))
            assert caught.value.reason == "registry_unauthorized"
            assert "battery" not in str(caught.value)


def test_credentials_do_not_show_their_password() -> None:
    assert "secret" not in repr(Credentials("builder", "secret"))
