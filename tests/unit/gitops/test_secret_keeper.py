"""What the keeper of secrets refuses, says and forgets."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from gitops.clusters import SecretStore, ServiceRef
from gitops.syncing.secret_keeper import SecretKeeper, outdated
from pipeline.records import Deployment, SecretVersion, Target
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


def target(*, tree: str = "t", version: int = 12) -> Target:
    return Target(
        project="shop", environment="production", service="web", deployment="d", release="r", image="i", sha="s",
        config_commit="c", tree=tree, secrets={"TOKEN": SecretVersion(version=version)},
    )  # fmt: skip


def deployed(number: int) -> Deployment:
    return Deployment(
        id=f"d{number}", project="shop", environment="production", service="web", release="r", image="i",
        status="running", config_commit=f"c{number}", created_at=f"2026-01-{number:02d}", secrets={"TOKEN": number},
    )  # fmt: skip


def test_what_the_last_ten_deployments_name_is_kept() -> None:
    assert outdated(target(), [deployed(number) for number in range(1, 13)]) == [1, 2]


def test_what_git_names_is_kept_however_old() -> None:
    assert outdated(target(version=1), [deployed(number) for number in range(1, 13)]) == [2]


def test_of_a_removed_service_nothing_is_kept() -> None:
    assert outdated(target(tree=""), [deployed(1), deployed(2)]) == [1, 2]
