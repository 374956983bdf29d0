"""What the keeper of builds' secrets keeps, refuses and says."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from pipeline.build_secrets import (
    BuildSecretKeeper,
    BuildSecretsOf,
    KeepBuildSecret,
    KeptBuildSecrets,
    context,
)
from pipeline.sealing import seal
from pipeline.secret_requests import Reply


def keep(folder: Path, value: bytes, *, service: str = "web", name: str = "NPM", sealed_as: str = "NPM") -> Reply:
    async def asked() -> Reply:
        keeper = BuildSecretKeeper(folder)
        key = msgspec.json.decode(await keeper.key(b""), type=Reply).key
        sealed = seal(value, to=key, context=context("shop", "web", sealed_as)) if value else b""
        question = KeepBuildSecret(project="shop", service=service, name=name, sealed=sealed)
        return msgspec.json.decode(await keeper.keep(msgspec.json.encode(question)), type=Reply)

    return asyncio.run(asked())


def names(folder: Path) -> list[str]:
    question = msgspec.json.encode(BuildSecretsOf(project="shop", service="web"))
    answer = asyncio.run(BuildSecretKeeper(folder).listed(question))
    return [one.name for one in msgspec.json.decode(answer, type=KeptBuildSecrets).secrets]


def test_a_value_is_a_file_that_its_owner_alone_reads_until_it_is_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "shop" / "web" / "NPM"

    assert keep(tmp_path, b"one").reason == ""
    assert keep(tmp_path, b"two").reason == ""

    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"two", 0o600)
    assert names(tmp_path) == ["NPM"]
    keep(tmp_path, b"")
    assert names(tmp_path) == []


def test_what_was_sealed_for_another_secret_is_not_opened(tmp_path: Path) -> None:
    assert keep(tmp_path, b"one", sealed_as="OTHER").reason == "not_sealed"
    assert keep(tmp_path, b"one", service="api").reason == "not_sealed"
    assert names(tmp_path) == []


def test_no_name_leads_out_of_the_folder(tmp_path: Path) -> None:
    assert keep(tmp_path, b"one", name="../NPM").reason == "bad_name"
    assert keep(tmp_path, b"one", service="..").reason == "bad_name"


def test_what_is_no_request_is_refused_without_repeating_it(tmp_path: Path) -> None:
    answer = asyncio.run(BuildSecretKeeper(tmp_path).keep(b"hunter2"))

    assert msgspec.json.decode(answer, type=Reply).reason == "bad_request"
    assert b"hunter2" not in answer
