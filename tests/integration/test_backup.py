"""The event store to a file and back at real servers, by the one user who may: nothing lost, nothing more."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import tarfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from console import backing_up, backup, platform
from console.supervise import Program
from pipeline import structure
from pipeline.bus import Bus, Write, connect
from pipeline.entries import AUDIT
from pipeline.errors import EncliiError, Refused
from pipeline.needs import BACKUP
from pipeline.rights import rights_of
from pipeline.settings import Settings
from tests.support.components import needs
from tests.support.nats import AUTHORIZED, password_of, running_nats

VERSION = "0.1.0"
WAITS = Program("waits", ("sleep", "600"))
ENVIRON = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
KEYS = {"release.pub": "sha256:abc"}


@asynccontextmanager
async def opened(url: str, user: str = "") -> AsyncIterator[Bus]:
    told = {"user": user, "password": password_of(user), "rights": rights_of(user)} if user else {}
    bus = await connect(url, name="test", wait=60, **told)  # type: ignore[arg-type]
    try:
        yield bus
    finally:
        await bus.close()


async def filled(url: str) -> None:
    """Three events of which the first was taken and acknowledged, a record that was replaced, a delivery, an entry."""
    async with opened(url) as bus:
        await bus.create_streams()
        await bus.create("AUDIT", AUDIT)
        for number in range(3):
            await bus.commit(Write(f"ev.build.requested.{number}", b"event %d" % number, 0))
        for text in (b"first", b"second"):
            await bus.append("st.run.x", text)
        await bus.append("hooks.d.x.0", b"delivery")
        await bus.append("audit.asked.x", b"entry")
        assert await taken(bus, 1) == [b"event 0"]


async def taken(bus: Bus, count: int) -> list[bytes]:
    found = []
    async with bus.consume("PIPE", "builder", ["ev.build.requested.*"], ack_wait=1) as messages, asyncio.timeout(60):
        while len(found) < count:
            message = await anext(messages)
            found.append(message.data)
            await message.ack()
    return found


async def written(url: str, file: Path) -> backup.Backup:
    async with opened(url, BACKUP) as bus:
        return await backup.write(bus, file, version=VERSION, keys=KEYS, wait=60)


async def restored(url: str, file: Path, version: str = VERSION) -> tuple[str, ...]:
    async with opened(url, BACKUP) as bus:
        return await backup.restore(bus, file, version=version)


def test_what_was_backed_up_comes_back_whole_and_work_goes_on_where_it_stood(tmp_path: Path) -> None:
    file = tmp_path / "enclii.backup"
    with running_nats(tmp_path / "one", extra=AUTHORIZED) as url:
        asyncio.run(filled(url))
        asyncio.run(written(url, file))
        assert asyncio.run(_waits(url)) == [b"event 1", b"event 2"]  # the stages go on

    assert file.stat().st_mode & 0o777 == 0o600
    assert sorted(one.name for one in tmp_path.iterdir()) == ["enclii.backup", "one"]
    with running_nats(tmp_path / "two", extra=AUTHORIZED) as url:
        asyncio.run(_empty(url))
        assert asyncio.run(restored(url, file)) == ("HOOKS", "PIPE", "AUDIT")  # the others are empty on both sides
        assert asyncio.run(restored(url, file)) == ()

        assert asyncio.run(_seen(url)) == {"st.run.x": (b"second", 5), "hooks.d.x.0": (b"delivery", 1)}
        assert asyncio.run(_waits(url)) == [b"event 1", b"event 2"]


async def _empty(url: str) -> None:
    async with opened(url) as bus:
        await bus.create_streams()


async def _waits(url: str) -> list[bytes]:
    async with opened(url) as bus:
        return await taken(bus, 2)


async def _seen(url: str) -> dict[str, tuple[bytes, int]]:
    async with opened(url) as bus:
        entries = [await bus.get(subject) for subject in ("st.run.x", "hooks.d.x.0")]
        return {one.subject: (one.data, one.seq) for one in entries if one}


def test_what_is_not_empty_newer_older_or_changed_is_refused_and_nothing_is_touched(tmp_path: Path) -> None:
    file = tmp_path / "enclii.backup"
    with running_nats(tmp_path / "nats", extra=AUTHORIZED) as url:
        asyncio.run(filled(url))
        asyncio.run(written(url, file))
        asyncio.run(_more(url))
        whole = file.read_bytes()
        spot = whole.index(b"snapshot") if b"snapshot" in whole else len(whole) // 3
        (tmp_path / "changed").write_bytes(whole[:spot] + bytes([whole[spot] ^ 1]) + whole[spot + 1 :])
        (tmp_path / "short").write_bytes(whole[: len(whole) // 2])
        (tmp_path / "none").write_bytes(b"no backup")
        _with_format(file, tmp_path / "newer", 2)
        _with_format(file, tmp_path / "older", 0)

        reasons = {name: _refused(url, tmp_path / name) for name in ("short", "none", "newer", "older", "changed")}

        assert reasons == {
            "short": "bad_backup", "none": "bad_backup", "newer": "newer_backup", "older": "older_backup",
            "changed": "bad_backup",
        }  # fmt: skip
        assert _refused(url, file, version="0.0.9") == "newer_backup"
        assert _refused(url, file) == "not_empty"
        assert asyncio.run(_seen(url))["st.run.x"][0] == b"third"


async def _more(url: str) -> None:
    async with opened(url) as bus:
        await bus.append("st.run.x", b"third")


def _refused(url: str, file: Path, version: str = VERSION) -> str:
    with pytest.raises(EncliiError) as refused:
        asyncio.run(restored(url, file, version))
    return refused.value.reason


def _with_format(file: Path, other: Path, number: int) -> None:
    with tarfile.open(file) as source, tarfile.open(other, "w") as sink:
        for entry in source:
            data = source.extractfile(entry)
            assert data is not None
            content = data.read()
            if entry.name == backup.MANIFEST:
                content = json.dumps(json.loads(content) | {"format": number}).encode()
                entry.size = len(content)
            sink.addfile(entry, io.BytesIO(content))


class Moving(Bus):
    """A connection before whose every copy of the records somebody else writes one."""

    writer: Bus

    async def asked(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        if path == "STREAM.SNAPSHOT.PIPE":
            await self.writer.append("st.run.x", b"again")
        return await super().asked(path, body)


def test_what_never_stands_still_is_given_up_in_words(tmp_path: Path) -> None:
    async def busy(url: str) -> str:
        async with opened(url, BACKUP) as own, opened(url) as writer:
            moving = Moving(own._client, rights_of(BACKUP))
            moving.writer = writer
            with pytest.raises(EncliiError) as refused:
                await backup.write(moving, tmp_path / "b", version=VERSION, keys={}, wait=0.3)
        return refused.value.reason

    with running_nats(tmp_path / "nats", extra=AUTHORIZED) as url:
        asyncio.run(filled(url))
        assert asyncio.run(busy(url)) == "busy"
    assert not (tmp_path / "b").exists()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    needs("nats-server", "docker-registry", "setpriv")
    yield tmp_path / "state"
    platform.down(tmp_path / "state", purge=True)


def test_a_backup_of_this_machine_is_restored_once_it_is_down_and_its_store_is_gone(home: Path) -> None:
    platform.up(home, environ=ENVIRON, enclii=[WAITS])
    place, file = backing_up.Place(home), home.with_name("enclii.backup")
    asyncio.run(_written(home, b"kept"))
    backing_up.backup(place, file, wait=60)

    with pytest.raises(Refused) as refused:
        backing_up.restore(place, file, environ=ENVIRON)
    assert refused.value.reason == "still_up"
    platform.down(home)
    shutil.rmtree(home / "nats")

    assert "PIPE" in backing_up.restore(place, file, environ=ENVIRON)
    platform.up(home, environ=ENVIRON, enclii=[WAITS])
    assert asyncio.run(_written(home)) == b"kept"


async def _written(home: Path, data: bytes = b"") -> bytes:
    await structure.make(_told(home, "committer"), wait=60)
    opened = await structure.connected(_told(home, "signer"), "signer", wait=60)
    try:
        if data:
            await opened.commit(Write("st.release.a", data))
        found = await opened.get("st.release.a")
        return found.data if found else b""
    finally:
        await opened.close()


def _told(home: Path, name: str) -> Settings:
    environment = platform.environment(home, name, environ={})
    return Settings.from_env({k: v for k, v in environment.items() if k.startswith("ENCLII_")}, process=name)
