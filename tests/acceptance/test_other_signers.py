"""The whole line where no file holds the key: an identity of a private Sigstore, or a key in a Vault, signs.

The policy allows two signers, the instance accepts one of them: what the other signs goes no further than the gate.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from pipeline.images import ImageRef
from tests.acceptance.test_push import runs
from tests.support.judge import cosign, cosign_identity
from tests.support.line import API, Line, commit, eventually, git, run_enclii, running_line, sample
from tests.support.sigstore import ISSUER, SUBJECT, running_sigstore
from tests.support.vault import TOKEN, running_vault

STRANGER = "https://enclii.example/stranger"
ONE_REPLICA = "services:\n  web:\n    port: 8080\n    health: /index.html\n"
Judge = Callable[[ImageRef], CompletedProcess[str]]


@dataclass(frozen=True)
class Signing:
    """Who signs and who else might: as settings, as a policy names both, and as the gate refuses the other."""

    settings: dict[str, str]
    others: dict[str, str]
    identities: list[object]
    judge: Judge
    reason: str
    secrets: list[str]


@contextmanager
def _keyless(keys: Path) -> Iterator[Signing]:
    with running_sigstore() as sigstore:
        root = sigstore.write_root(keys / "trusted_root.json")
        tokens = [sigstore.authority.token(subject=one) for one in (SUBJECT, STRANGER)]
        for name, token in zip(("identity.token", "stranger.token"), tokens, strict=True):
            (keys / name).write_text(token)
        yield Signing(
            settings={
                "SIGNING_URI": "keyless:", "KEYLESS_IDENTITY": SUBJECT, "KEYLESS_ISSUER": ISSUER,
                "FULCIO_URL": sigstore.url, "REKOR_URL": sigstore.url,
            },
            others={"KEYLESS_IDENTITY": STRANGER, "IDENTITY_TOKEN": "keys/stranger.token"},
            identities=[{"identity": one, "issuer": ISSUER} for one in (SUBJECT, STRANGER)],
            judge=lambda image: cosign_identity(root, image, subject=SUBJECT, issuer=ISSUER),
            reason="wrong_identity",
            secrets=tokens,
        )  # fmt: skip


@contextmanager
def _vault(keys: Path) -> Iterator[Signing]:
    with running_vault() as vault:
        vault.keys.append(type(vault.keys[0]).generate())
        (keys / "signing.env").write_text(f"VAULT_ADDR={vault.url}\nVAULT_TOKEN={TOKEN}\n")
        (keys / "signing.env").chmod(0o600)
        yield Signing(
            settings={"SIGNING_URI": "hv:enclii/1"},
            others={"SIGNING_URI": "hv:enclii/2", "VERIFY_KEY": "keys/second.pub"},
            identities=[one.public.hint for one in vault.keys],
            judge=lambda image: cosign(keys / "signing.pub", image),
            reason="wrong_key",
            secrets=[TOKEN],
        )


@pytest.mark.parametrize("signs", [_keyless, _vault], ids=["keyless", "vault"])
def test_a_push_goes_live_by_the_accepted_signer_and_anothers_release_does_not(
    signs: Callable[[Path], AbstractContextManager[Signing]], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    (home / "keys").mkdir(parents=True, mode=0o700)
    with signs(home / "keys") as signing, running_line(home, signing.settings) as line:
        config = _allow(line, tmp_path, signing.identities)
        sample(tmp_path / "shop", "nothing yet\n")
        (tmp_path / "shop/enclii.yaml").write_text(ONE_REPLICA)
        _push(line, tmp_path / "shop", "one\n")
        eventually(lambda: runs(line, "v1"), what="v1 runs")

        image = ImageRef.parse(line.api("/v1/releases/shop.web.v1")["image_uri"])
        judged = signing.judge(image)
        assert judged.returncode == 0, judged.stderr
        verified = run_enclii(line, API, "verify", "shop.web.v1")
        assert verified.returncode == 0, verified.stdout
        git("pull", "-q", cwd=config)
        assert "Enclii-Summary: sha256:" in git("log", "-1", cwd=config)
        assert image.digest in git("show", "HEAD", cwd=config)

        line.settings.update(signing.others)
        line.kill("signer")
        line.start("signer")
        _push(line, tmp_path / "shop", "two\n")
        refused = ("refused", signing.reason)
        eventually(lambda: refused in _decisions(line, "shop.web.v2"), what="the other's release is refused")
        git("fetch", "-q", cwd=config)
        assert git("rev-parse", "HEAD", cwd=config) == git("rev-parse", "@{upstream}", cwd=config)
        assert line.page("web.shop.localhost") == "one\n"
        logged = "".join(path.read_text() for path in home.glob("*.log"))
        assert not [secret for secret in signing.secrets if secret in logged]


def _allow(line: Line, tmp: Path, identities: list[object]) -> Path:
    """A clone of the config repository, whose policy names the signers."""
    git("clone", "-q", line.url("enclii/config"), "config", cwd=tmp)
    (tmp / "config/policy.yaml").write_text(json.dumps({"identities": identities}))
    commit(tmp / "config", "Who may sign")
    git("push", "-q", "origin", "HEAD", cwd=tmp / "config")
    return tmp / "config"


def _push(line: Line, shop: Path, page: str) -> None:
    (shop / "index.html").write_text(page)
    commit(shop, "Another page")
    git("push", line.url("shop/shop"), "main", cwd=shop)


def _decisions(line: Line, wanted: str) -> set[tuple[str, str]]:
    return {(one["outcome"], one["reason"]) for one in line.api(f"/v1/why/{wanted}")["decisions"]}
