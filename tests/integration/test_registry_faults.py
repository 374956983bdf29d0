"""The registry's client against answers that a healthy registry does not give: real bytes over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pipeline import attest, images
from pipeline.errors import EncliiError, Invalid, Refused, Unavailable
from pipeline.images import OCI_MANIFEST, Descriptor
from pipeline.registry import Credentials, Registry

Run = Callable[[Coroutine[Any, Any, Any]], Any]
ABSENT = "sha256:" + "0" * 64


Script = Callable[[str, str, dict[str, str]], bytes | None]
"""(method, path, headers) → the raw answer; None: no answer at all."""


def _client(host: str, **more: Any) -> Registry:
    return Registry(host, plain_http=True, **more)


@asynccontextmanager
async def _speaking(script: Script) -> AsyncIterator[tuple[str, list[str]]]:
    """A socket that answers as ``script`` says; yields its address and the requests that it saw."""
    seen: list[str] = []
    held = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            method, path, _ = head[0].split(" ")
            headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:]) if k}
            seen.append(f"{method} {path} {headers.get('authorization', '')}".strip())
            answer = script(method, path, headers)
            if answer is None:
                await held.wait()
            writer.write(answer or b"")
            await writer.drain()
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", seen
    finally:
        held.set()
        server.close()
        await server.wait_closed()


def _answer(status: str, body: bytes = b"", headers: Sequence[str] = ()) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


async def _failure(script: Script, *, timeout: float = 60.0) -> tuple[EncliiError, list[str]]:  # noqa: ASYNC109
    async with _speaking(script) as (host, seen), _client(host, timeout=timeout) as registry:
        with pytest.raises(EncliiError) as caught:
            await registry.manifest("shop/web", ABSENT)
    return caught.value, seen


@pytest.mark.parametrize(
    ("answer", "kind", "reason", "requests"),
    [
        (_answer("503 Busy"), Unavailable, "registry_failing", 3),
        (_answer("429 Slow down", headers=["Retry-After: 0"]), Unavailable, "registry_busy", 3),
        (_answer("429 Slow down", headers=["Retry-After: 77"]), Unavailable, "registry_busy", 1),
        (_answer("200 OK", b"other content"), Unavailable, "registry_lied", 1),
        (_answer("200 OK", b"x")[:-1], Unavailable, "registry_unreachable", 3),
        (b"SSH-2.0-not-a-registry\r\n", Unavailable, "registry_unreachable", 3),
        (b"", Unavailable, "registry_unreachable", 3),
        (_answer("401 Who"), Refused, "registry_unauthorized", 1),
        (_answer("403 No"), Refused, "registry_forbidden", 1),
        (_answer("418 Teapot", b"<html>"), Invalid, "registry_rejected", 1),
        (_answer("200 OK", b"x" * ((4 << 20) + 1)), Invalid, "too_large", 1),
        (_answer("307 There", headers=["Location: ftp://127.0.0.1/x"]), Refused, "registry_downgrade", 1),
    ],
    ids=lambda value: value[:20].decode(errors="replace") if isinstance(value, bytes) else None,
)
def test_what_went_wrong_is_said_as_one_of_our_errors(
    run: Run, answer: bytes, kind: type[EncliiError], reason: str, requests: int
) -> None:
    error, seen = run(_failure(lambda *_: answer))

    assert (type(error), error.reason, len(seen)) == (kind, reason, requests)


@pytest.mark.parametrize(
    ("said", "delay"),
    [
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600.0),
        ("99999999999999999999999999", 3600.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
    ],
)
def test_a_moment_to_come_back_is_a_delay_of_an_hour_at_most(run: Run, said: str, delay: float) -> None:
    error, _ = run(_failure(lambda *_: _answer("429 Slow down", headers=[f"Retry-After: {said}"])))

    assert error.delay == delay


@pytest.mark.parametrize("said", ["soon", "-5", "1.5", "\u00b2", "Fri, 31 Feb 2026 25:00:00 GMT"])
def test_a_delay_that_nobody_understands_is_none(run: Run, said: str) -> None:
    error, _ = run(_failure(lambda *_: _answer("429 Slow down", headers=[f"Retry-After: {said}"])))

    assert (error.reason, error.delay) == ("registry_busy", None)


def test_a_long_retry_after_is_left_to_the_worker(run: Run) -> None:
    error, _ = run(_failure(lambda *_: _answer("429 Slow down", headers=["Retry-After: 77"])))

    assert isinstance(error, Unavailable)
    assert error.delay == 77


def test_a_registry_that_hangs_is_given_up_at_the_deadline(run: Run) -> None:
    error, _ = run(_failure(lambda *_: None, timeout=0.4))

    assert isinstance(error, Unavailable)
    assert error.reason in {"registry_timeout", "registry_unreachable"}


@pytest.mark.parametrize("body", [b'{"tags": 5}', b'{"tags": "ab"}', b'{"tags": ' + b"[" * 90_000, b"[1]", b"{"])
def test_tags_that_are_no_list_are_a_lie(run: Run, body: bytes) -> None:
    async def story() -> None:
        async with _speaking(lambda *_: _answer("200 OK", body)) as (host, _), _client(host) as registry:
            with pytest.raises(Unavailable) as caught:
                await registry.tags("shop/web")
        assert caught.value.reason == "registry_lied"

    run(story())


def test_a_fault_that_passes_is_not_seen(run: Run) -> None:
    body = b"{}"
    answers = iter([_answer("500 Oh"), b"", _answer("200 OK", body)])

    async def story() -> None:
        async with _speaking(lambda *_: next(answers)) as (host, _), _client(host) as registry:
            found = await registry.manifest("shop/web", images.sha256(body))
        assert found is not None

    run(story())


def test_a_list_that_vanishes_while_it_is_written_is_read_again(run: Run) -> None:
    entry = Descriptor(OCI_MANIFEST, "sha256:" + "a" * 64, 1)
    index = _answer("200 OK", attest.merged_index(None, [entry]) or b"")
    tag = iter([_answer("404 Not Found"), index])

    async def story() -> list[Descriptor]:
        script: Script = lambda _, path, __: _answer("404 Not Found") if "/referrers/" in path else next(tag)  # noqa: E731
        async with _speaking(script) as (host, _), _client(host) as registry:
            return await registry.referrers("shop/web", ABSENT)

    assert run(story()) == [entry]


def test_content_that_is_called_invalid_while_another_stores_it_is_sent_again(run: Run) -> None:
    answers = iter([_answer("400 Bad Request", b'{"errors":[{"code":"DIGEST_INVALID"}]}'), _answer("201 Created")])

    async def story() -> str:
        async with _speaking(lambda *_: next(answers)) as (host, _), _client(host) as registry:
            return await registry.put_manifest("shop/web", "v1", OCI_MANIFEST, b"{}")

    assert run(story()) == images.sha256(b"{}")


def test_a_token_is_fetched_once_for_a_repository_and_sent_again(run: Run) -> None:
    body = b"{}"

    def script(_method: str, path: str, headers: dict[str, str]) -> bytes:
        if path.startswith("/token"):
            return _answer("200 OK", b'{"token":"T"}')
        if headers.get("authorization") == "Bearer T":
            return _answer("200 OK", body)
        realm = f'Bearer realm="http://{headers["host"]}/token",service="s",scope="repository:shop/web:pull"'
        return _answer("401 Who", headers=[f"WWW-Authenticate: {realm}"])

    async def story() -> list[str]:
        login = Credentials("u", "p")
        async with _speaking(script) as (host, seen), _client(host, credentials=login) as registry:
            for _ in range(2):
                await registry.manifest("shop/web", images.sha256(body))
        return seen

    manifest = f"GET /v2/shop/web/manifests/{images.sha256(body)}"
    token = "GET /token?service=s&scope=repository%3Ashop%2Fweb%3Apull Basic dTpw"
    assert run(story()) == [manifest, token, f"{manifest} Bearer T", f"{manifest} Bearer T"]


def test_a_redirect_to_another_host_does_not_take_the_login_along(run: Run) -> None:
    body = b"blob"

    async def story() -> list[str]:
        async with _speaking(lambda *_: _answer("200 OK", body)) as (elsewhere, seen):

            def script(_method: str, _path: str, headers: dict[str, str]) -> bytes:
                if "authorization" not in headers:
                    return _answer("401 Who", headers=['WWW-Authenticate: Basic realm="r"'])
                return _answer("307 There", headers=[f"Location: http://{elsewhere}/blob"])

            async with _speaking(script) as (host, _), _client(host, credentials=Credentials("u", "p")) as registry:
                digest = "sha256:" + hashlib.sha256(body).hexdigest()
                assert await registry.blob("shop/web", digest, limit=10) == body
        return seen

    assert run(story()) == ["GET /blob"]


def test_the_referrers_api_and_the_fallback_tag_are_read_together(run: Run) -> None:
    here, there = (Descriptor(OCI_MANIFEST, "sha256:" + digit * 64, 1) for digit in "ab")

    def script(_method: str, path: str, headers: dict[str, str]) -> bytes:
        kind = [f"Content-Type: {images.OCI_INDEX}"]
        if path.endswith("page=2"):
            return _answer("200 OK", attest.merged_index(None, [there]) or b"", kind)
        if "/referrers/" in path:
            more = f'Link: <{path}?page=2>; rel="next"'
            return _answer("200 OK", attest.merged_index(None, [here]) or b"", [*kind, more])
        return _answer("200 OK", attest.merged_index(None, [here]) or b"", kind)

    async def story() -> list[Descriptor]:
        async with _speaking(script) as (host, _), _client(host) as registry:
            return await registry.referrers("shop/web", ABSENT)

    assert run(story()) == [here, there]


@pytest.mark.parametrize("said", ["202 Begun", "401 Who", "405 Never", "200 OK"])
def test_a_registry_that_takes_no_blob_over_gets_it_by_upload(run: Run, said: str) -> None:
    def script(method: str, path: str, _: dict[str, str]) -> bytes:
        if "mount=" in path:
            return _answer(said, headers=["Location: /v2/two/blobs/uploads/other"])
        return _answer({"POST": "202 Begun", "PUT": "201 Stored"}.get(method, "204 Gone"), headers=["Location: /v2/up"])

    async def story() -> list[str]:
        async with _speaking(script) as (host, seen), _client(host) as registry:
            for name in ("one", "two"):
                await registry.share_blob(name, b"shared")
        return seen

    uploads = [line for line in run(story()) if line.startswith("PUT")]

    assert len(uploads) == 2
