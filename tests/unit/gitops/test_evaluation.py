from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gitops.gate.evaluation import Evaluation, Facts, Package, evaluate, packages
from gitops.gate.policyfile import ALWAYS, Override, Policy

DIGEST = "sha256:" + "a" * 64
IMAGE = f"127.0.0.1:5000/shop/web@{DIGEST}"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
BUILDERS = frozenset({"https://enclii.dev/builder/one"})
STREAM = Package("event-stream", "3.3.6", "pkg:npm/event-stream@3.3.6", ("MIT",))
COPYLEFT = Package("lib", "1", "", ("AGPL-3.0-only",))
FACTS = Facts(IMAGE, ALWAYS, "https://enclii.dev/builder/one", frozenset({"key"}), (STREAM, COPYLEFT), reachable=True)


def _judged(policy: Policy, facts: Facts = FACTS) -> Evaluation:
    return evaluate(policy, facts, builders=BUILDERS, at=NOW)


def _failed(evaluation: Evaluation) -> list[str]:
    return [one.rule for one in evaluation.checks if not one.passed]


def test_a_signed_image_passes_the_policy_that_nobody_wrote() -> None:
    assert _judged(Policy()).passed


def test_a_missing_predicate_fails_and_is_named() -> None:
    judged = _judged(Policy(predicates=ALWAYS | {"https://scan.example/v1"}))
    assert _failed(judged) == ["predicates"]
    assert "https://scan.example/v1 is missing" in judged.refusal


def test_another_builder_fails() -> None:
    assert _failed(_judged(Policy(), replace(FACTS, builder="https://elsewhere"))) == ["builder"]
    assert _failed(_judged(Policy(builders=frozenset({"https://enclii.dev/builder/two"})))) == ["builder"]


def test_another_identity_fails() -> None:
    assert _failed(_judged(Policy(identities=frozenset({"other"})))) == ["identity"]
    assert _judged(Policy(identities=frozenset({"key"}))).passed


@pytest.mark.parametrize("reachable", [False, None])
def test_a_commit_that_is_not_proven_to_be_on_the_branch_fails(reachable: bool | None) -> None:
    assert _failed(_judged(Policy(reachable=True), replace(FACTS, reachable=reachable))) == ["reachable"]


def test_a_denied_licence_fails_and_names_the_package() -> None:
    judged = _judged(Policy(licenses=("agpl-*",)))
    assert _failed(judged) == ["licenses"]
    assert "lib@1" in judged.refusal


def test_a_package_that_names_no_licence_can_be_denied() -> None:
    silent = replace(FACTS, packages=(Package("silent", "1", "", ()),))
    assert _judged(Policy(licenses=("GPL-*",)), silent).passed
    assert _failed(_judged(Policy(licenses=("UNKNOWN",)), silent)) == ["licenses"]


@pytest.mark.parametrize("pattern", ["event-stream", "event-stream@3.3.6", "pkg:npm/event-stream", "pkg:npm/event-*"])
def test_a_denied_package_fails_by_name_version_or_purl(pattern: str) -> None:
    assert _failed(_judged(Policy(packages=(pattern,)))) == ["packages"]


def test_a_package_of_another_version_passes() -> None:
    assert _judged(Policy(packages=("event-stream@4.*",))).passed


def _override(**changed: object) -> Override:
    fields = {"image": DIGEST, "rules": frozenset({"licenses"}), "by": "on-call", "reason": "urgent"} | changed
    return Override(**fields)  # type: ignore[arg-type]


def test_an_override_lets_its_image_pass_and_stays_visible() -> None:
    judged = _judged(Policy(licenses=("AGPL-*",), overrides=(_override(),)))
    assert judged.passed
    assert [one.override.by for one in judged.checks if one.override] == ["on-call"]


@pytest.mark.parametrize(
    "changed",
    [
        {"image": "sha256:" + "b" * 64},
        {"image": "*"},
        {"rules": frozenset({"packages"})},
        {"until": datetime(2025, 1, 1, tzinfo=UTC)},
    ],
)
def test_an_override_of_something_else_changes_nothing(changed: dict[str, object]) -> None:
    assert _failed(_judged(Policy(licenses=("AGPL-*",), overrides=(_override(**changed),)))) == ["licenses"]


def test_the_packages_of_all_documents_are_read_each_once() -> None:
    purl = {"referenceType": "purl", "referenceLocator": "pkg:deb/debian/bash@5.2?arch=amd64"}
    bash = {"name": "bash", "versionInfo": "5.2", "licenseDeclared": "GPL-3.0-or-later", "externalRefs": [purl]}
    bare = {"name": "bare", "licenseConcluded": "NOASSERTION"}

    assert packages([{"packages": [bash, bare]}, {}, {"packages": [bash, {"name": "more"}]}]) == (
        Package("bash", "5.2", "pkg:deb/debian/bash@5.2", ("GPL-3.0-or-later",)),
        Package("bare", "", "", ()),
        Package("more", "", "", ()),
    )


def test_a_document_without_packages_has_none() -> None:
    assert packages([{}]) == packages([{"packages": []}]) == ()


@pytest.mark.parametrize("listed", [None, "x", {"a": 1}, ["nonsense"], [{"versionInfo": "1"}], [{"name": 3}]])
def test_packages_in_another_form_fail_what_is_denied_of_them(listed: object) -> None:
    found = packages([{"packages": [{"name": "good"}]}, {"packages": listed}])
    assert found is None
    judged = _judged(Policy(licenses=("AGPL-*",), packages=("bad",)), replace(FACTS, packages=found))
    assert _failed(judged) == ["licenses", "packages"]
    assert "cannot be read" in judged.refusal
    assert _judged(Policy(), replace(FACTS, packages=found)).passed
