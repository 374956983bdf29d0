"""The backstop's policies: whole, with the instance's key, for the registries that were named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gitops import emit
from gitops.wiring import Document
from gitops.wiring.admission import TOOLS, kyverno, policy_controller
from pipeline.errors import Invalid
from pipeline.keys import PublicKey, SigningKey

KEY = SigningKey.generate().public.pem.decode()


def _yaml(document: Document) -> str:
    return emit.document(document).decode()


def test_kyverno_demands_our_key_and_a_digest_and_lets_nothing_pass_on_failure() -> None:
    spec = kyverno(KEY, ["registry.example:5000"])["spec"]
    (rule,) = spec["rules"]
    (images,) = rule["verifyImages"]
    assert images["imageReferences"] == ["registry.example:5000/*"]
    assert (images["required"], images["verifyDigest"], images["failureAction"]) == (True, True, "Enforce")
    assert spec["failurePolicy"] == "Fail"
    entry = images["attestors"][0]["entries"][0]["keys"]
    assert PublicKey.from_pem(entry["publicKeys"].encode()) == PublicKey.from_pem(KEY.encode())


def test_policy_controller_enforces_our_key_for_each_registry() -> None:
    spec = policy_controller(KEY, ["one.example", "two.example"])["spec"]
    assert spec["images"] == [{"glob": "one.example/**"}, {"glob": "two.example/**"}]
    assert spec["mode"] == "enforce"
    assert spec["authorities"][0]["key"]["data"] == KEY


@pytest.mark.parametrize("render", [kyverno, policy_controller])
def test_what_is_no_registry_is_refused(render: type) -> None:
    with pytest.raises(Invalid):
        render(KEY, ["*"])


@pytest.mark.parametrize("render", [kyverno, policy_controller])
def test_the_text_holds_the_key_on_one_escaped_line(render: type) -> None:
    text = _yaml(render(KEY, ["registry.example"]))
    assert "PRIVATE" not in text
    assert "BEGIN PUBLIC KEY" in text


@pytest.mark.parametrize("tool", sorted(TOOLS))
def test_the_example_is_what_the_command_prints(tool: str) -> None:
    example = (Path(__file__).parents[3] / "manifests" / "policies" / f"{tool}.yaml").read_text()
    said, _, text = example.partition("\n")
    key = re.search(r"-----BEGIN.*?END PUBLIC KEY-----\\n", text)
    assert key is not None
    assert f"enclii bootstrap admission {tool}" in said
    assert _yaml(TOOLS[tool](key[0].replace("\\n", "\n"), ["registry.example"])) == text
