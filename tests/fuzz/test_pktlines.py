"""Bytes to the git host's pkt-line services over a real socket: refused or understood, never a 5xx; nothing of what
was sent moves anything but the branch of a sound push, and what nobody may send moves nothing.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import names
from pipeline.process import run
from tests.fuzz.inputs import broken, fuzzed
from tests.support.githost_room import LIMIT, SHOP, TOKENS, Room, in_room

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

AT_ONCE = 8
FLUSH, DELIMITER = b"0000", b"0001"
Sent = tuple[str, bytes, bool, str]
"""Service, body, whether it is packed by gzip, and the token."""


def line(text: str) -> bytes:
    """A pkt-line."""
    return f"{len(text.encode()) + 4:04x}".encode() + text.encode()


def pushes(head: str, pack: bytes) -> list[bytes]:
    """Sound pushes: a new branch, a deletion, two commands, options, a shallow line."""
    none, can = "0" * 40, "\0report-status side-band-64k delete-refs push-options atomic"
    return [
        line(f"{none} {head} refs/heads/main\0report-status") + FLUSH + pack,
        line(f"{head} {none} refs/heads/main{can}") + FLUSH,
        line(f"{none} {head} refs/heads/a{can}") + line(f"{none} {head} refs/heads/b") + FLUSH + pack,
        line(f"{none} {head} refs/heads/c{can}") + FLUSH + line("enclii.skip") + FLUSH + pack,
        line(f"shallow {head}") + line(f"{none} {head} refs/heads/d{can}") + FLUSH + pack,
    ]


def fetches(head: str) -> list[bytes]:
    """Sound fetches of the first and of the second protocol."""
    return [
        line(f"want {head} side-band-64k ofs-delta\n") + FLUSH + line("done\n"),
        line(f"want {head} filter\n") + line("deepen 1\n") + line("filter blob:none\n") + FLUSH + line("done\n"),
        line("command=ls-refs\n") + DELIMITER + line("peel\n") + line("ref-prefix refs/heads/\n") + FLUSH,
        line("command=fetch\n") + DELIMITER + line(f"want {head}\n") + line(f"have {head}\n") + line("done\n") + FLUSH,
    ]


def requests(head: str, pack: bytes) -> st.SearchStrategy[Sent]:
    right = {"receive-pack": TOKENS.deploy, "upload-pack": TOKENS.read}
    sound = {"receive-pack": pushes(head, pack), "upload-pack": fetches(head)}

    def of(service: str) -> st.SearchStrategy[Sent]:
        token = st.sampled_from([right[service]] * 5 + ["", "wrong-token"])
        return st.tuples(st.just(service), broken(sound[service]), st.sampled_from([False, False, True]), token)

    return of("receive-pack") | of("upload-pack")


def test_whatever_git_is_said_to_have_sent_is_answered_and_moves_no_ref_that_it_should_not(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        loop = asyncio.get_running_loop()
        head = await room.commit(Dockerfile="FROM scratch\n")
        assert (await room.push()).startswith("0 ")  # there is something to fetch
        packed = await run(
            ("git", "pack-objects", "--revs", "--stdout", "-q"),
            timeout=LIMIT,
            cwd=room.work,
            stdin=f"{head}\n".encode(),
        )

        @settings(fuzzed, max_examples=-(-fuzzed.max_examples // AT_ONCE))
        @given(st.lists(requests(head, packed.stdout), min_size=AT_ONCE, max_size=AT_ONCE))
        def each(some: list[Sent]) -> None:
            asyncio.run_coroutine_threadsafe(asked(room, some), loop).result(LIMIT)

        await asyncio.to_thread(each)
        await nothing_else_happened(room, head)

    in_room(tmp_path, scenario)


async def asked(room: Room, some: Sequence[Sent]) -> None:
    """All of them at once; each is answered as it should be."""
    for sent, status in zip(some, await asyncio.gather(*(answered(room, *one) for one in some)), strict=True):
        may = sent[3] in (TOKENS.deploy, TOKENS.read)
        assert status in ((200, 400, 413) if may else (401,)), (status, sent)


async def answered(room: Room, service: str, body: bytes, packed: bool, token: str) -> int:
    """The status of what the host says to these bytes; it has said all that it says by then."""
    data = gzip.compress(body) if packed else body
    head = [
        f"POST /shop/web.git/git-{service} HTTP/1.1", "Host: x", f"Content-Length: {len(data)}", "Connection: close",
        f"Content-Type: application/x-git-{service}-request", "Git-Protocol: version=2",
        *([f"Authorization: Bearer {token}"] if token else []), *(["Content-Encoding: gzip"] if packed else []),
        "", "",
    ]  # fmt: skip
    host, port = room.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write("\r\n".join(head).encode() + data)
    answer = await reader.read()
    writer.close()
    return int(answer.split(b" ", 2)[1])


async def nothing_else_happened(room: Room, head: str) -> None:
    """Each ref is a branch that shows the one commit there is, the repository is sound, no other was made."""
    assert room.host.repositories.all() == [SHOP]
    refs = await room.host.repositories.refs(SHOP)
    assert set(refs.values()) <= {head}
    assert all(names.ref(ref) == ref for ref in refs)
    stored = room.host.repositories.root / "shop/web.git"
    await run(("git", "fsck", "--strict", "--full"), timeout=LIMIT, cwd=stored)
    assert {one.after for one in await room.deliveries()} <= {head, "0" * 40}
