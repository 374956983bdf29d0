"""Signing through a registry that misbehaves: a real one behind a door that spoils chosen answers.

Whatever it does, a release is either signed and read back whole, or an error says why and whether to try again.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pipeline import attest
from pipeline.errors import Conflict, EncliiError, Invalid, Refused, Unavailable
from pipeline.images import ImageRef, sha256
from pipeline.keys import SigningKey
from pipeline.registry import Credentials, Registry
from pipeline.supply import sign_release
from pipeline.verify import verify_image
from tests.support.forgeries import SPDX, facts
from tests.support.registry import push_image, running_registry

KEY = SigningKey.generate()

Spoil = Callable[[str, str, bytes], bytes | None]
"""(method, path, request) → the raw answer instead of the registry's; None: the registry's own."""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@asynccontextmanager
async def _behind(real: str, spoil: Spoil, *, cut: str = "") -> AsyncIterator[str]:
    """An address that hands on to ``real`` what ``spoil`` leaves; of answers to paths with ``cut`` half is lost."""

    serving: set[asyncio.Task[Any] | None] = set()  # the loop itself holds them weakly alone

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            request = head + (await reader.readexactly(int(length[1])) if length else b"")
            method, path, _ = head.decode().split(" ", 2)
            answer = spoil(method, path, request)
            if answer is None:
                answer = await _handed_on(real, request)
                if cut and cut in path and method == "GET":
                    answer = _halved(answer)
            writer.write(answer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return  # whoever asked has gone
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in serving:
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in serving if task is not None), return_exceptions=True)
        await server.wait_closed()


async def _handed_on(real: str, request: bytes) -> bytes:
    place, _, port = real.partition(":")
    reader, writer = await asyncio.open_connection(place, int(port))
    try:
        writer.write(request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
        return await reader.read(-1)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def _halved(answer: bytes) -> bytes:
    head, _, body = answer.partition(b"\r\n\r\n")
    body = body[: len(body) // 2]
    return re.sub(rb"(?i)content-length: \d+", b"Content-Length: %d" % len(body), head) + b"\r\n\r\n" + body


def _answer(status: str, *headers: str, body: bytes = b"") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]).encode() + body


def _signed(host: str, name: str, spoil: Spoil, **more: Any) -> None:
    """Sign through the spoiling door an image that is in the registry."""
    cut = more.pop("cut", "")

    async def story() -> None:
        async with Registry(host, plain_http=True) as registry:
            image = await push_image(registry, f"faults/{name}")
        async with _behind(host, spoil, cut=cut) as door, Registry(door, plain_http=True, **more) as registry:
            seen = ImageRef(door, image.repository, image.digest)
            await sign_release(registry, seen, key=KEY, provenance=facts(), sbom=SPDX)

    asyncio.run(story())


def _proven(host: str, name: str) -> bool:
    """Whether a stranger finds the whole set beside the image, asking the registry itself."""

    async def story() -> bool:
        async with Registry(host, plain_http=True) as registry:
            image = await push_image(registry, f"faults/{name}")
            try:
                return (await verify_image(registry, image, keys=[KEY.public], demand=None)).signed
            except Refused:
                return False

    return asyncio.run(story())


def _referrer(method: str, path: str, request: bytes) -> bool:
    return method == "PUT" and "/manifests/sha256:" in path and b'"subject"' in request


@pytest.mark.parametrize(
    ("name", "spoil", "kind", "reason"),
    [
        ("always-200", lambda *_: _answer("200 OK"), Unavailable, "registry_lied"),
        ("always-201", lambda m, *_: _answer("201 Created") if m != "GET" else None, Invalid, "registry_rejected"),
        (
            "refused-referrer",
            lambda *request: (
                _answer("400 Bad Request", body=b'{"errors":[{"code":"MANIFEST_INVALID"}]}')
                if _referrer(*request)
                else None
            ),
            Invalid,
            "registry_rejected",
        ),
        (
            "forbidden-referrer",
            lambda *request: _answer("403 Forbidden") if _referrer(*request) else None,
            Refused,
            "registry_forbidden",
        ),
        (
            "limited",
            lambda *request: _answer("429 Slow down", "Retry-After: 77") if _referrer(*request) else None,
            Unavailable,
            "registry_busy",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_registry_that_misbehaves_gives_no_release(
    host: str, name: str, spoil: Spoil, kind: type[EncliiError], reason: str
) -> None:
    with pytest.raises(kind) as caught:
        _signed(host, name, spoil)

    assert caught.value.reason == reason
    assert not _proven(host, name)


def test_a_registry_that_cuts_blobs_off_is_not_believed(host: str) -> None:
    with pytest.raises(Unavailable) as caught:
        _signed(host, "cut", lambda *_: None, cut="/blobs/sha256:")

    assert caught.value.reason == "registry_lied"


def test_a_list_that_the_registry_takes_and_forgets_is_found_out(host: str) -> None:
    def spoil(method: str, path: str, _: bytes) -> bytes | None:
        tagged = path.rpartition("/manifests/")[2].startswith("sha256-") and not path.endswith(".sig")
        return _answer("201 Created") if method == "PUT" and tagged else None

    with pytest.raises(Conflict) as caught:
        _signed(host, "forgotten", spoil)

    assert caught.value.reason == "referrers_contended"
    assert not _proven(host, "forgotten")


@pytest.mark.parametrize("collected", [False, True])
def test_the_blob_that_all_attachments_share_is_asked_for_once_and_again_when_it_was_collected(
    host: str, collected: bool
) -> None:
    name, empty, asked = f"faults/shared-{collected}".lower(), sha256(attest.EMPTY), []

    def spoil(method: str, path: str, _: bytes) -> None:
        if empty in path:
            asked.append(method)

    async def story() -> list[list[str]]:
        rounds = []
        async with _behind(host, spoil) as door, Registry(door, plain_http=True) as registry:
            for number in range(3):
                image = await push_image(registry, name, content=b"%d" % number)
                if collected and number == 2:
                    await _removed(host, name, empty)
                asked.clear()
                await sign_release(registry, image, key=KEY, provenance=facts(), sbom=SPDX)
                rounds.append([*asked])
                assert (await verify_image(registry, image, keys=[KEY.public], demand=None)).signed
        return rounds

    first, second, third = asyncio.run(story())
    assert first == ["HEAD", "PUT"]
    assert second == []
    assert third == (["HEAD", "PUT"] if collected else [])


async def _removed(host: str, name: str, digest: str) -> None:
    """As the registry's garbage collection does it, seen from outside: the repository has the blob no more."""
    request = f"DELETE /v2/{name}/blobs/{digest} HTTP/1.1\r\nHost: {host}\r\n\r\n"
    assert b" 202 " in (await _handed_on(host, request.encode())).partition(b"\r\n")[0]


def test_a_limit_that_passes_is_waited_for(host: str) -> None:
    asked: dict[tuple[str, str], int] = {}

    def spoil(method: str, path: str, _: bytes) -> bytes | None:
        key = (method, re.sub("/uploads/.*", "/uploads/", path))  # each upload has an address of its own
        asked[key] = asked.get(key, 0) + 1
        return _answer("429 Slow down", "Retry-After: 0") if asked[key] == 1 else None

    _signed(host, "passing", spoil)

    assert _proven(host, "passing")


def test_a_token_that_expires_in_the_middle_is_asked_for_again(host: str) -> None:
    asked, given = [0], []

    def spoil(_method: str, path: str, request: bytes) -> bytes | None:
        age = f"A{asked[0] // 16}"  # whatever was given before every sixteenth request is worth nothing after it
        if path.startswith("/token"):
            given.append(age)
            return _answer("200 OK", body=b'{"token":"%s"}' % age.encode())
        if f"Bearer {age}\r".encode() in request:
            asked[0] += 1
            return None
        door = re.search(rb"(?i)host: (\S+)", request)
        assert door is not None
        return _answer("401 Who", f'WWW-Authenticate: Bearer realm="http://{door[1].decode()}/token",service="s"')

    _signed(host, "expiring", spoil, credentials=Credentials("u", "p"))

    assert set(given) >= {"A0", "A1", "A2"}
    assert _proven(host, "expiring")
