"""The backstop's policies: whole, with the instance's key, for the registries that were named."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from cryptography import x509

from gitops import emit
from gitops.wiring import Document
from gitops.wiring.admission import TOOLS, Accepted, Identity, kyverno, policy_controller
from gitops.wiring.sigstore_root import read
from pipeline.errors import Invalid
from pipeline.keys import PublicKey, SigningKey
from tests.support.sigstore import ISSUER, SUBJECT, running_sigstore

KEY = SigningKey.generate().public.pem.decode()


ONE = Accepted([KEY])


def _yaml(documents: Iterable[Document]) -> str:
    return "---\n".join(emit.document(one).decode() for one in documents)


def _keyless() -> Accepted:
    with running_sigstore() as private:
        instance = read(json.dumps(private.trusted_root).encode())
    return Accepted((), Identity(SUBJECT, ISSUER, instance))


def test_kyverno_demands_our_key_and_a_digest_and_lets_nothing_pass_on_failure() -> None:
    spec = kyverno(ONE, ["registry.example:5000"])[0]["spec"]
    (rule,) = spec["rules"]
    (images,) = rule["verifyImages"]
    assert images["imageReferences"] == ["registry.example:5000/*"]
    assert (images["required"], images["verifyDigest"], images["failureAction"]) == (True, True, "Enforce")
    assert spec["failurePolicy"] == "Fail"
    entry = images["attestors"][0]["entries"][0]["keys"]
    assert PublicKey.from_pem(entry["publicKeys"].encode()) == PublicKey.from_pem(KEY.encode())


def test_policy_controller_enforces_our_key_for_each_registry() -> None:
    spec = policy_controller(ONE, ["one.example", "two.example"])[0]["spec"]
    assert spec["images"] == [{"glob": "one.example/**"}, {"glob": "two.example/**"}]
    assert spec["mode"] == "enforce"
    assert spec["authorities"][0]["key"]["data"] == KEY


@pytest.mark.parametrize("render", [kyverno, policy_controller])
def test_what_is_no_registry_is_refused(render: type) -> None:
    with pytest.raises(Invalid):
        render(ONE, ["*"])


@pytest.mark.parametrize("render", [kyverno, policy_controller])
def test_the_text_holds_the_key_on_one_escaped_line(render: type) -> None:
    text = _yaml(render(ONE, ["registry.example"]))
    assert "PRIVATE" not in text
    assert "BEGIN PUBLIC KEY" in text


@pytest.mark.parametrize("tool", sorted(TOOLS))
def test_the_example_is_what_the_command_prints(tool: str) -> None:
    example = (Path(__file__).parents[3] / "manifests" / "policies" / f"{tool}.yaml").read_text()
    said, _, text = example.partition("\n")
    key = re.search(r"-----BEGIN.*?END PUBLIC KEY-----\\n", text)
    assert key is not None
    assert f"enclii bootstrap admission {tool}" in said
    assert _yaml(TOOLS[tool](Accepted([key[0].replace("\\n", "\n")]), ["registry.example"])) == text


def test_every_accepted_key_is_in_both_policies_and_one_of_them_is_enough() -> None:
    keys = [SigningKey.generate().public.pem.decode() for _ in range(3)]

    (attestors,) = kyverno(Accepted(keys), ["registry.example"])[0]["spec"]["rules"][0]["verifyImages"][0]["attestors"]
    authorities = policy_controller(Accepted(keys), ["registry.example"])[0]["spec"]["authorities"]

    assert attestors["count"] == 1
    assert [one["keys"]["publicKeys"] for one in attestors["entries"]] == keys
    assert [one["key"]["data"] for one in authorities] == keys
    assert len({one["name"] for one in authorities}) == 3


def test_an_identity_is_demanded_by_subject_issuer_and_the_instances_own_roots() -> None:
    accepted = _keyless()
    assert accepted.identity is not None
    at = accepted.identity.instance

    (policy,) = kyverno(accepted, ["registry.example"])
    entry = policy["spec"]["rules"][0]["verifyImages"][0]["attestors"][0]["entries"][0]["keyless"]
    root, image_policy = policy_controller(accepted, ["registry.example"])
    authority = image_policy["spec"]["authorities"][0]

    assert (entry["subject"], entry["issuer"]) == (SUBJECT, ISSUER)
    assert (entry["rekor"], entry["roots"]) == ({"url": at.log_url, "pubkey": at.log_key}, at.roots)
    assert authority["keyless"]["identities"] == [{"issuer": ISSUER, "subject": SUBJECT}]
    assert authority["keyless"]["trustRootRef"] == authority["ctlog"]["trustRootRef"] == root["metadata"]["name"]
    chain = root["spec"]["sigstoreKeys"]["certificateAuthorities"][0]["certChain"]
    assert x509.load_pem_x509_certificate(base64.b64decode(chain)).subject.rfc4514_string() == "CN=a root of the tests"


def test_a_policy_that_accepts_nobody_is_not_written() -> None:
    with pytest.raises(Invalid):
        Accepted()


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"tlogs": [1], "ctlogs": [1], "certificateAuthorities": [1]}'])
def test_what_is_no_root_is_refused(data: bytes) -> None:
    with pytest.raises(Invalid):
        read(data)
