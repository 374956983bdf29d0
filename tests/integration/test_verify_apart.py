"""``enclii verify`` for a stranger: an image, a key, the registry's account in docker's file, and no Enclii at all."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from console import cli
from pipeline.images import ImageRef
from pipeline.isolation import CONTAINER, builder_id
from pipeline.keys import SigningKey, write_public
from pipeline.registry import Registry
from pipeline.registry_login import Credentials
from pipeline.settings import Settings
from pipeline.supply import sign_release
from pipeline.trust import named
from tests.support.forgeries import CYCLONEDX, SHA, SOURCE, facts
from tests.support.registry import push_image, running_registry
from tests.support.sigstore import ISSUER, SUBJECT, running_sigstore

ME = Credentials("builder", "correct horse")
# bcrypt of "correct horse", made for these tests alone
HTPASSWD = "builder:$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2\n"
KEY, STRANGER = SigningKey.generate(), SigningKey.generate()
BUILDER = builder_id(Settings().builder_id, CONTAINER)
SPDX = json.dumps(
    {
        "spdxVersion": "SPDX-2.3",
        "packages": [{"name": "left-pad", "versionInfo": "1.3.0", "licenseDeclared": "AGPL-3.0-only"}],
    }
).encode()


@dataclass
class World:
    """A private registry with one release by a key, and a folder of somebody who was given that key."""

    host: str
    image: ImageRef
    folder: Path

    def asked(self, *words: str, docker: bool = True) -> int:
        """The exit code of ``enclii verify IMAGE WORDS``."""
        env = {"DOCKER_CONFIG": str(self.folder / "docker")} if docker else {"HOME": "/nonexistent"}
        return cli.run(["verify", str(self.image), "--plain-http", "-o", "json", *words], env, self.folder)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("stranger")
    (folder / "htpasswd").write_text(HTPASSWD)
    write_public(folder / "key.pub", KEY.public)
    write_public(folder / "other.pub", STRANGER.public)

    async def signed(host: str) -> ImageRef:
        async with Registry(host, plain_http=True, credentials=ME) as registry:
            image = await push_image(registry, "shop/web")
            told = facts(builder_id=BUILDER)
            await sign_release(registry, image, key=KEY, provenance=told, sbom=SPDX, cyclonedx=CYCLONEDX)
            return image

    auth = {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}
    with running_registry(folder / "registry", auth=auth) as host:
        login = base64.b64encode(b"builder:correct horse").decode()
        (folder / "docker").mkdir()
        (folder / "docker/config.json").write_text(json.dumps({"auths": {host: {"auth": login}}}))
        yield World(host, asyncio.run(signed(host)), folder)


def _failed(out: str) -> Sequence[str]:
    return [one["rule"] for one in json.loads(out)["checks"] if not one["passed"]]


def test_a_stranger_with_the_key_sees_what_the_gate_sees(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    code = world.asked("--key", str(world.folder / "key.pub"), "--source", SOURCE, "--commit", SHA)
    answer = json.loads(capsys.readouterr().out)

    assert (code, answer["passed"]) == (0, True)
    assert {one["rule"] for one in answer["checks"]} == {"signature", "predicates", "builder"}
    assert f"{SOURCE} at {SHA[:12]}, by its provenance" in [one["detail"] for one in answer["checks"]]


@pytest.mark.parametrize(
    ("words", "rules"),
    [
        (["--key", "other.pub"], ["signature", "predicates", "predicates", "predicates", "builder"]),
        (["--key", "key.pub", "--source", "https://forge.example/other", "--commit", SHA], ["signature"]),
        (["--key", "key.pub", "--source", SOURCE, "--commit", "d" * 40], ["signature"]),
        (["--key", "key.pub", "--builder", "https://elsewhere.example"], ["builder"]),
        (["--key", "key.pub", "--policy", "policy.yaml"], ["identity", "reachable", "licenses", "packages"]),
    ],
    ids=["another-key", "another-repository", "another-commit", "another-builder", "a-stricter-policy"],
)
def test_each_rule_that_does_not_hold_is_named(
    words: list[str],
    rules: list[str],
    world: World,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(world.folder)
    policy = {
        "require": ["cyclonedx"], "identities": ["nobody", {"identity": SUBJECT, "issuer": ISSUER}], "reachable": True,
        "deny": {"licenses": ["AGPL-*"], "packages": ["left-pad"]},
    }  # fmt: skip
    (world.folder / "policy.yaml").write_text(json.dumps(policy))

    code = world.asked(*words)

    assert code == 1
    assert _failed(capsys.readouterr().out) == rules


def test_an_identity_is_a_rule_of_the_policy_like_a_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running_sigstore() as private, running_registry(tmp_path / "registry") as host:
        image = asyncio.run(_keyless(tmp_path, private, host))
        (tmp_path / "policy.yaml").write_text(json.dumps({"identities": [{"identity": SUBJECT, "issuer": ISSUER}]}))
        words = ["--identity", SUBJECT, "--issuer", ISSUER, "--trusted-root", str(tmp_path / "keys/trusted_root.json")]
        words += ["--policy", str(tmp_path / "policy.yaml"), "--plain-http", "-o", "json"]

        assert cli.run(["verify", str(image), *words], {}, tmp_path) == 0
        details = [one["detail"] for one in json.loads(capsys.readouterr().out)["checks"]]
        assert f"signed by {named(SUBJECT, ISSUER)}" in details
        words[1] = "https://stranger.example"
        assert cli.run(["verify", str(image), *words], {}, tmp_path) == 1


async def _keyless(home: Path, private: Any, host: str) -> ImageRef:
    from pipeline.__main__ import what_signs

    (home / "keys").mkdir()
    private.write_root(home / "keys/trusted_root.json")
    (home / "keys/identity.token").write_text(private.authority.token())
    told = Settings(
        home=home, signing_uri="keyless:", fulcio_url=private.url, rekor_url=private.url, keyless_identity=SUBJECT,
        keyless_issuer=ISSUER,
    )  # fmt: skip
    async with Registry(host, plain_http=True) as registry:
        image = await push_image(registry, "shop/keyless")
        key = await what_signs(told)
        await sign_release(registry, image, key=key, provenance=facts(builder_id=BUILDER), sbom=SPDX)
        return image


def test_without_the_account_the_registry_is_what_refuses(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    code = world.asked("--key", str(world.folder / "key.pub"), docker=False)

    told = capsys.readouterr()
    assert code == 1
    assert "registry_" in told.err
    assert told.out == ""


@pytest.mark.parametrize(
    "words",
    [
        ["--policy", "key.pub"],
        ["--key", "key.pub", "--source", SOURCE],
        ["--identity", SUBJECT],
        ["--key", "docker/config.json"],
    ],
    ids=["no-key", "no-commit", "no-issuer", "no-key-in-it"],
)
def test_what_cannot_be_asked_is_a_mistake_and_says_nothing_of_the_image(
    words: list[str], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world.folder)

    assert world.asked(*words) == 2
