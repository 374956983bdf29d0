from __future__ import annotations

import pytest

from gitops.gate.policyfile import ALWAYS, Policy, combined, parse
from pipeline import attest
from pipeline.errors import Invalid

FULL = b"""
require: [cyclonedx, https://scan.example/v1]
builders: [https://enclii.dev/builder/one]
identities: [release-key]
reachable: true
deny:
  licenses: [AGPL-3.0-only]
  packages: ["pkg:npm/event-stream*"]
overrides:
  - image: sha256:aaaa
    rules: [licenses]
    by: on-call
    reason: the fix is on its way
    until: 2030-01-01T00:00:00+00:00
"""


def test_without_a_file_signature_provenance_and_sbom_are_demanded() -> None:
    assert combined(None, None) == Policy()
    assert Policy().predicates == ALWAYS


def test_a_full_file_is_read() -> None:
    policy = parse(FULL)
    assert policy.predicates == ALWAYS | {attest.CYCLONEDX, "https://scan.example/v1"}
    assert policy.reachable
    assert policy.licenses == ("AGPL-3.0-only",)
    assert policy.overrides[0].by == "on-call"


def test_a_project_adds_demands_and_takes_none_away() -> None:
    policy = combined(b"deny: {licenses: [A]}\nreachable: true\n", b"deny: {licenses: [B]}\nreachable: false\n")
    assert policy.licenses == ("A", "B")
    assert policy.reachable


def test_a_project_narrows_the_builders_and_never_widens_them() -> None:
    assert combined(b"builders: [a, b]", b"builders: [b, c]").builders == {"b"}
    with pytest.raises(Invalid, match="allows nothing"):
        combined(b"builders: [a]", b"builders: [c]")


def test_a_project_cannot_override_what_holds_for_all() -> None:
    override = b"overrides: [{image: x, rules: [licenses], by: a, reason: b}]"
    with pytest.raises(Invalid, match="not heard"):
        combined(b"", override)


def test_different_files_have_different_digests() -> None:
    seen = {combined(*files).digest for files in ((None, None), (b"{}", None), (b"{}", b"{}"), (b"", b"{}"))}
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a", "must be a mapping"),
        ("requires: []", "unknown key 'requires'"),
        ("require: [sbo]", "'sbo' is neither"),
        ("require: sbom", "require must be a list"),
        ("builders: [1]", "builders must be a list of names"),
        ("reachable: sure", "must be true or false"),
        ("deny: {licences: [A]}", "unknown key 'licences'"),
        ("overrides: [{image: x, rules: [licenses], by: a}]", r"overrides\[0\].reason is missing"),
        ("overrides: [{image: x, rules: [], by: a, reason: b}]", r"overrides\[0\].rules must name"),
        ("overrides: [{image: x, rules: [predicates], by: a, reason: b}]", r"overrides\[0\].rules must name"),
        ("overrides: [{image: x, rules: [licenses], by: a, reason: b, until: soon}]", "until must be a date"),
        ("overrides: [{image: x, rules: [licenses], by: a, reason: b, until: 0001-01-01}]", "until must be a date"),
        ("a: [", ":1 is not valid YAML|not valid YAML"),
    ],
)
def test_what_is_wrong_is_named(text: str, said: str) -> None:
    with pytest.raises(Invalid, match=said) as caught:
        parse(text.encode())
    assert caught.value.reason == "bad_policy"
