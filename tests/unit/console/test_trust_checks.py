"""What doctor says of signatures and the policy, each wrong state with its way out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from console import trust_checks
from gitops.clusters import Finding
from gitops.gate.policyfile import Policy, parse
from pipeline.errors import Invalid
from pipeline.keys import SigningKey, write_public
from pipeline.settings import Settings
from tests.support.sigstore import ISSUER, SUBJECT, Authority, Sigstore

NOW, FORMER, GONE = (SigningKey.generate().public for _ in range(3))


@pytest.fixture
def told(tmp_path: Path) -> Settings:
    for folder in ("accepted", "retired"):
        (tmp_path / "keys" / folder).mkdir(parents=True)
    write_public(tmp_path / "keys/signing.pub", NOW)
    return Settings(home=tmp_path)


def _found(told: Settings) -> dict[str, Finding]:
    return {one.subject: one for one in trust_checks.signing(told)}


def test_the_signer_and_each_key_are_named(told: Settings) -> None:
    write_public(told.home / "keys/accepted/former.pub", FORMER)
    write_public(told.home / "keys/retired/gone.pub", GONE)

    found = _found(replace(told, signing_uri="hv:enclii/1"))

    assert found["signer"] == Finding("ok", "signer", "a key in a Vault's transit engine")
    assert found["accepted signatures"].message == f"key {NOW.hint}; key {FORMER.hint}"
    assert found["retired keys"].message == f"key {GONE.hint}"


def test_an_identity_is_named_with_its_issuer(told: Settings) -> None:
    Sigstore(Authority()).write_root(told.home / "keys/trusted_root.json")

    found = _found(replace(told, signing_uri="keyless:", keyless_identity=SUBJECT, keyless_issuer=ISSUER))

    assert [one.level for one in found.values()] == ["ok", "ok"]
    assert found["accepted signatures"].message == f"identity {SUBJECT} by {ISSUER}"


@pytest.mark.parametrize(
    ("changed", "subject"),
    [
        ({"signing_uri": "ftp://key"}, "signer"),
        ({"signing_uri": "keyless:"}, "signer"),
        ({"keyless_identity": SUBJECT, "keyless_issuer": ISSUER}, "signer"),
        ({"keyless_identity": SUBJECT, "keyless_issuer": ISSUER}, "accepted signatures"),
        ({"verify_keys": (Path("keys/none.pub"),)}, "accepted signatures"),
        ({"retired_keys": (Path("keys/signing.pub"),)}, "accepted signatures"),
    ],
    ids=["unknown", "no-identity", "not-keyless", "no-root", "no-such-key", "retired-and-signing"],
)
def test_what_would_let_no_release_pass_is_an_error_with_a_way_out(
    changed: dict[str, object], subject: str, told: Settings
) -> None:
    found = _found(replace(told, **changed))[subject]  # type: ignore[arg-type]

    assert found.level == "error"
    assert found.fix


def test_the_policy_is_summed_up_and_a_broken_one_is_an_error() -> None:
    def broken() -> Policy:
        return parse(b"deny: {licences: [x]}")

    strict = b"identities: [a]\nreachable: true\ndeny: {packages: [b]}\n"

    assert "signature, provenance and SBOM" in trust_checks.policy(Policy).message
    assert trust_checks.policy(lambda: parse(strict)).message.endswith("identities, reachable commits, packages")
    assert trust_checks.policy(broken).level == "error"
    with pytest.raises(Invalid):
        broken()
