"""What the keeper of secrets refuses, says and forgets."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from gitops.clusters import SecretStore, ServiceRef
from gitops.syncing.secret_keeper import SecretKeeper
from pipeline.sealing import load_or_make, seal
from pipeline.secret_requests import Reply, StoreSecret, context


class Memory:
    """A store of secrets that keeps them in a dictionary."""

    def __init__(self) -> None:
        self.kept: dict[int, tuple[str, bytes]] = {}

    async def add(self, ref: ServiceRef, name: str, value: bytes, *, after: int) -> int:
        number = max([after, *self.kept]) + 1
        self.kept[number] = (name, value)
        return number

    async def missing(self, ref: ServiceRef, numbers: list[int]) -> list[int]:
        return [number for number in numbers if number not in self.kept]

    async def remove(self, ref: ServiceRef, numbers: list[int]) -> None:
        for number in numbers:
            self.kept.pop(number, None)


def ask(folder: Path, value: bytes, *, name: str = "TOKEN", sealed_as: str = "", memory: Memory | None = None) -> Reply:
    opener = load_or_make(folder / "key")
    store: SecretStore = memory or Memory()

    async def stores(_: ServiceRef) -> SecretStore:
        return store

    where = context("shop", "production", "web", sealed_as or name)
    sealed = seal(value, to=opener.public, context=where)
    asked = StoreSecret(project="shop", environment="production", service="web", name=name, sealed=sealed)
    answer = asyncio.run(SecretKeeper(opener, stores).keep(msgspec.json.encode(asked)))
    return msgspec.json.decode(answer, type=Reply)


def test_a_sealed_value_is_kept_and_its_number_said(tmp_path: Path) -> None:
    memory = Memory()

    assert ask(tmp_path, b"hunter2", memory=memory).number == 1
    assert memory.kept == {1: ("TOKEN", b"hunter2")}


@pytest.mark.parametrize(
    ("value", "name", "sealed_as", "reason"),
    [
        (b"", "TOKEN", "", "bad_value"),
        (b"a\x00b", "TOKEN", "", "bad_value"),
        (b"\xff\xfe", "TOKEN", "", "bad_value"),
        (b"x" * (33 << 10), "TOKEN", "", "bad_value"),
        (b"hunter2", "A-B", "", "bad_name"),
        (b"hunter2", "TOKEN", "OTHER", "not_sealed"),
    ],
)
def test_what_cannot_be_kept_is_refused_without_its_value(
    tmp_path: Path, value: bytes, name: str, sealed_as: str, reason: str
) -> None:
    reply = ask(tmp_path, value, name=name, sealed_as=sealed_as)

    assert (reply.number, reply.reason) == (0, reason)
    assert "hunter2" not in reply.message


def test_a_question_that_is_none_is_answered(tmp_path: Path) -> None:
    async def stores(_: ServiceRef) -> SecretStore:
        return Memory()

    keeper = SecretKeeper(load_or_make(tmp_path / "key"), stores)

    assert msgspec.json.decode(asyncio.run(keeper.keep(b"{")), type=Reply).reason == "bad_request"
