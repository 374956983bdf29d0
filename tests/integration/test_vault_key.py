"""A key that never leaves its Vault: the library's own client against a transit engine of the tests, cosign judges."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.__main__ import what_signs
from pipeline.errors import EncliiError, Invalid, Unavailable
from pipeline.images import ImageRef
from pipeline.keys import write_public
from pipeline.registry import Registry
from pipeline.remote_key import RemoteKey
from pipeline.settings import Settings
from pipeline.supply import sign_release
from tests.support.forgeries import SPDX, facts
from tests.support.judge import cosign
from tests.support.registry import push_image, running_registry
from tests.support.vault import TOKEN, Vault, running_vault


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the signer puts into its own environment, for the library looks nowhere else, is gone after each test."""
    for name in ("VAULT_ADDR", "VAULT_TOKEN"):
        monkeypatch.setenv(name, "")


@pytest.fixture
def vault() -> Iterator[Vault]:
    with running_vault() as running:
        yield running


def _settings(home: Path, vault: Vault, *, uri: str = "hv:enclii/1", token: str = TOKEN) -> Settings:
    (home / "keys").mkdir(exist_ok=True)
    path = home / "keys/signing.env"
    path.write_text(f"VAULT_ADDR={vault.url}\nVAULT_TOKEN={token}\n")
    path.chmod(0o600)
    return Settings(home=home, signing_uri=uri)


def _opened(told: Settings) -> RemoteKey:
    key = asyncio.run(what_signs(told))
    assert isinstance(key, RemoteKey)
    return key


def test_cosign_accepts_what_a_vault_signed_and_a_second_signing_adds_nothing(vault: Vault, tmp_path: Path) -> None:
    public = tmp_path / "key.pub"

    async def story(host: str) -> ImageRef:
        key = await what_signs(_settings(tmp_path, vault))
        assert isinstance(key, RemoteKey)
        write_public(public, key.public)
        async with Registry(host, plain_http=True) as registry:
            image = await push_image(registry, "supply/vault")
            added = [
                (await sign_release(registry, image, key=key, provenance=facts(), sbom=SPDX)).added for _ in range(2)
            ]
            assert [len(one) for one in added] == [3, 0]
            return image

    with running_registry(tmp_path / "registry") as host:
        image = asyncio.run(story(host))
        for kind, older in (("", False), ("", True), ("slsaprovenance1", False)):
            judged = cosign(public, image, kind=kind, older=older)
            assert judged.returncode == 0, judged.stderr


def test_a_version_stays_the_key_until_another_is_named(vault: Vault, tmp_path: Path) -> None:
    vault.keys.append(type(vault.keys[0]).generate())

    first, second = (_opened(_settings(tmp_path, vault, uri=f"hv:enclii/{number}")) for number in (1, 2))

    assert [first.public, second.public] == [one.public for one in vault.keys]
    assert first.public.verifies(asyncio.run(first.signature(b"data")), b"data")


@pytest.mark.parametrize(
    ("uri", "token", "kind", "reason"),
    [
        ("hv:enclii/1", "hvs.wrong", Unavailable, "key_unavailable"),
        ("hv:another/1", TOKEN, Unavailable, "key_unavailable"),
        ("hv:enclii/9", TOKEN, Invalid, "bad_key"),
        ("hv:enclii", TOKEN, Invalid, "bad_key"),
    ],
    ids=["wrong-token", "no-such-key", "no-such-version", "no-version"],
)
def test_a_vault_that_refuses_is_told_and_its_token_is_not(
    uri: str, token: str, kind: type[EncliiError], reason: str, vault: Vault, tmp_path: Path
) -> None:
    with pytest.raises(kind) as caught:
        _opened(_settings(tmp_path, vault, uri=uri, token=token))

    assert caught.value.reason == reason
    assert token not in str(caught.value)


def test_a_vault_that_is_sealed_gives_no_signature_until_it_is_opened_again(vault: Vault, tmp_path: Path) -> None:
    key = _opened(_settings(tmp_path, vault))
    vault.sealed = True

    with pytest.raises(Unavailable):
        asyncio.run(key.signature(b"data"))

    vault.sealed = False
    assert key.public.verifies(asyncio.run(key.signature(b"data")), b"data")
