"""The git host when something dies, leaves or lies in the middle of a push."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import signal
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

from pipeline.bus import connect
from pipeline.events import Delivery, Event
from pipeline.process import orphan_proof, run
from pipeline.store import Store
from tests.support.components import needs
from tests.support.githost_room import LIMIT, SHOP, TOKENS, Room, delivered, in_room, opened
from tests.support.nats import running_nats

PACK_TYPE = "Content-Type: application/x-git-receive-pack-request\r\n"
AUTHORIZED = f"Authorization: Bearer {TOKENS.deploy}\r\n"


def test_a_host_killed_between_the_push_and_its_announcement_announces_it_once_when_it_is_back(tmp_path: Path) -> None:
    needs("git")

    async def scenario(nats: str) -> None:
        async with opened(tmp_path / "first", nats) as room:
            head = await room.commit(Dockerfile="FROM scratch\n")
            async with _dying_host(tmp_path / "second/state", nats) as room.url:
                await room.push()
        async with opened(tmp_path / "second", nats) as room:
            [delivery] = await delivered(room)
            assert delivery.after == head
            assert delivery.id.startswith("local:")
            assert await room.host.sweeper.sweep() == []
            assert len(await room.deliveries()) == 1

    with running_nats(tmp_path / "nats") as url:
        asyncio.run(scenario(url))


def test_an_event_store_that_goes_away_after_the_intent_delays_the_run_and_loses_nothing(tmp_path: Path) -> None:
    needs("git")

    async def scenario(nats: str) -> None:
        async with opened(tmp_path, nats, store=_CutStore) as room:
            head = await room.commit(Dockerfile="FROM scratch\n")
            said = await room.push()
            assert said.startswith("0 ")
            assert "its run starts as soon as the event store is back" in said
            assert [delivery.after for delivery in await delivered(room)] == [head]

    with running_nats(tmp_path / "nats") as url:
        asyncio.run(scenario(url))


def test_a_client_that_leaves_after_its_last_byte_has_pushed(tmp_path: Path) -> None:
    reached, left = threading.Event(), threading.Event()

    def check(_: str) -> None:
        reached.set()
        assert left.wait(LIMIT)

    async def scenario(nats: str) -> None:
        async with opened(tmp_path, nats, check=check) as room:
            head = await room.commit(enclii_yaml="services: {}\n")
            _, writer = await _posted(room, await _receive_pack_body(room, head))
            assert await asyncio.to_thread(reached.wait, LIMIT)
            writer.close()
            await writer.wait_closed()
            left.set()
            assert [delivery.after for delivery in await delivered(room)] == [head]

    with running_nats(tmp_path / "nats") as url:
        asyncio.run(scenario(url))


def test_a_client_that_leaves_before_its_last_byte_has_not(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        head = await room.commit(Dockerfile="FROM scratch\n")
        body = await _receive_pack_body(room, head)
        _, writer = await _posted(room, body[:-10], length=len(body))
        writer.close()
        assert (await room.push("main:other")).startswith("0 ")
        assert list(await room.host.repositories.refs(SHOP)) == ["refs/heads/other"]

    in_room(tmp_path, scenario)


def test_a_compressed_push_is_understood(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        head = await room.commit(Dockerfile="FROM scratch\n")
        body = gzip.compress(await _receive_pack_body(room, head))
        reader, writer = await _posted(room, body, more="Content-Encoding: gzip\r\n")
        assert b" 200 " in await reader.readline()
        assert [delivery.after for delivery in await delivered(room)] == [head]
        writer.close()

    in_room(tmp_path, scenario)


def test_requests_that_git_would_not_send_are_refused(tmp_path: Path) -> None:
    cases = [
        ("GET", "/shop/web.git/info/refs", "", 403),
        ("GET", "/shop/web.git/info/refs?service=git-upload-archive", "", 403),
        ("GET", "/shop/web.git/HEAD", "", 404),
        ("GET", "/shop/../web.git/info/refs?service=git-upload-pack", "", 404),
        ("GET", "/%2e%2e/web.git/info/refs?service=git-upload-pack", "", 404),
        ("GET", "/enclii/other.git/info/refs?service=git-receive-pack", "", 404),
        ("PUT", "/shop/web.git/git-receive-pack", "", 405),
        ("GET", "/shop/web.git/git-receive-pack", "", 405),
        ("POST", "/shop/web.git/git-receive-pack", "Content-Type: text/plain\r\n", 415),
        ("POST", "/shop/web.git/git-receive-pack", f"{PACK_TYPE}Content-Encoding: br\r\n", 415),
    ]

    async def scenario(room: Room) -> None:
        for method, path, headers, status in cases:
            reader, writer = await _sent(room, f"{method} {path} HTTP/1.1\r\n{headers}{AUTHORIZED}Host: x\r\n\r\n")
            assert f" {status} ".encode() in await reader.readline(), path
            writer.close()
        assert room.host.repositories.all() == []

    in_room(tmp_path, scenario)


def test_a_service_file_that_is_a_link_is_refused(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        await room.commit(Dockerfile="FROM scratch\n")
        (room.work / "enclii.yaml").symlink_to("/etc/passwd")
        await room.commit()
        assert "enclii.yaml must be a regular file" in await room.push()

    in_room(tmp_path, scenario)


def test_a_damaged_object_is_refused(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        await room.commit(Dockerfile="FROM scratch\n")
        tree = (await room.git("rev-parse", "HEAD^{tree}")).stdout.decode().strip()
        text = f"tree {tree}\nauthor nobody\ncommitter nobody\n\nno dates\n"
        (tmp_path / "commit").write_text(text)
        bad = await room.git("hash-object", "-t", "commit", "-w", "--literally", str(tmp_path / "commit"))
        said = await room.push(f"{bad.stdout.decode().strip()}:refs/heads/bad")
        assert said.startswith("1 ")
        assert await room.host.repositories.refs(SHOP) == {}

    in_room(tmp_path, scenario)


class _CutStore(Store):
    """Its connection is gone at the first announcement of a delivery, and back for the next."""

    async def publish(self, *events: Event) -> bool:
        if events and isinstance(events[0], Delivery) and not hasattr(self, "cut"):
            object.__setattr__(self, "cut", True)
            address = self.bus._client.connected_url
            assert address is not None
            lost = await connect(address.geturl(), name="lost")
            await lost.close()
            return await Store(lost).publish(*events)
        return await super().publish(*events)


@contextlib.asynccontextmanager
async def _dying_host(state: Path, nats: str) -> AsyncIterator[str]:
    """The address of a host that is waited for at the end: it has to die by itself."""
    argv = orphan_proof((sys.executable, "-m", "tests.support.dying_githost", str(state), nats))
    root = Path(__file__).parents[2]
    host = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE, cwd=root)
    assert host.stdout is not None
    yield (await asyncio.wait_for(host.stdout.readline(), LIMIT)).decode().strip()
    assert await asyncio.wait_for(host.wait(), LIMIT) == -signal.SIGKILL


async def _receive_pack_body(room: Room, head: str) -> bytes:
    """What git sends for a new branch: one command, a flush, the pack."""
    command = f"{'0' * 40} {head} refs/heads/main\0report-status".encode()
    revisions = f"{head}\n".encode()
    argv = ("git", "pack-objects", "--revs", "--stdout", "-q")
    pack = await run(argv, timeout=LIMIT, cwd=room.work, stdin=revisions)
    return f"{len(command) + 4:04x}".encode() + command + b"0000" + pack.stdout


async def _posted(
    room: Room, body: bytes, *, length: int | None = None, more: str = ""
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    head = "POST /shop/web.git/git-receive-pack HTTP/1.1\r\nHost: x\r\n" + AUTHORIZED + PACK_TYPE + more
    reader, writer = await _sent(room, f"{head}Content-Length: {length or len(body)}\r\n\r\n")
    writer.write(body)
    await writer.drain()
    return reader, writer


async def _sent(room: Room, head: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = room.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head.encode())
    return reader, writer
