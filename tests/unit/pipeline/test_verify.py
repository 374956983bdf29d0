from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from pipeline import attest, evidence, images
from pipeline.errors import Invalid, Refused
from pipeline.evidence import Demand, Evidence, Rejected, Statement
from pipeline.images import Descriptor, ImageRef
from pipeline.keys import SigningKey
from pipeline.verify import judge
from tests.support.forged import FORGED, GOOD, KNOWN, LAID, REFERENCE, REFUSED
from tests.support.forgeries import BUILDER, SHA, SOURCE, SPDX, Case, facts, sealed

IMAGE = ImageRef("127.0.0.1:5000", "shop/web", "sha256:" + "1a" * 32)
KEY = SigningKey.generate()
DEMAND = Demand(SOURCE, SHA, frozenset({BUILDER}))
OTHER_SHA = "d" * 40
REFERENCE_COUNT = 87
"""Forged repositories that cosign was tried with, on two registries."""


def _opened(bundle: bytes, *, manifest: str = "0") -> Statement:
    digest = "sha256:" + manifest * 64
    return evidence.open_bundle(bundle, image_digest=IMAGE.digest, keys=[KEY.public], manifest=digest)


def _signature() -> Statement:
    return _opened(sealed(KEY, attest.signature_statement(IMAGE)), manifest="1")


def _provenance(given: attest.Provenance | None = None, *, manifest: str = "2") -> Statement:
    return _opened(sealed(KEY, attest.provenance_statement(IMAGE, given or facts())), manifest=manifest)


def _sbom() -> Statement:
    return _opened(sealed(KEY, attest.sbom_statement(IMAGE, SPDX)), manifest="3")


def _link(*, source_url: str = SOURCE, sha: str = OTHER_SHA, provenance: str = "2") -> Statement:
    original = "sha256:" + provenance * 64
    link = attest.Link(source_url, "refs/heads/main", sha, "e" * 40, "key", original, "r-2")
    return _opened(sealed(KEY, attest.link_statement(IMAGE, link)), manifest="4")


def _whole(*more: Statement) -> list[Statement]:
    return [_signature(), _provenance(), _sbom(), *more]


def _reason(statements: Sequence[Statement], demand: Demand | None, rejected: Sequence[Rejected] = ()) -> str:
    with pytest.raises(Refused) as caught:
        judge(Evidence(statements, rejected), IMAGE, demand)
    return caught.value.reason


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case.name)
def test_a_sound_bundle_is_taken(case: Case) -> None:
    statement = _opened(case.build(KEY, IMAGE))

    assert statement.predicate_type == attest.PROVENANCE


@pytest.mark.parametrize("case", FORGED, ids=lambda case: case.name)
def test_a_forged_bundle_is_refused_with_its_reason(case: Case) -> None:
    with pytest.raises(Refused) as caught:
        _opened(case.build(KEY, IMAGE))

    assert caught.value.reason == case.reason


def test_every_forgery_of_the_reference_has_its_case() -> None:
    standing = {name for names in REFERENCE.values() for name in names}

    assert all(REFERENCE.values())
    assert standing - KNOWN == set()


def test_no_forgery_stands_in_the_tables_twice_and_there_are_more_than_the_reference_counts() -> None:
    assert len(KNOWN) == len(GOOD) + len(FORGED) + len(LAID)
    assert len(REFUSED) > REFERENCE_COUNT


def test_nothing_of_a_payload_is_read_before_its_signature_holds() -> None:
    stranger = SigningKey.generate()

    with pytest.raises(Refused) as caught:
        _opened(sealed(stranger, b"[" * 100_000))

    assert caught.value.reason == "wrong_key"


def test_either_of_two_trusted_keys_is_enough() -> None:
    keys = [SigningKey.generate().public, KEY.public]
    bundle = sealed(KEY, attest.signature_statement(IMAGE))

    assert evidence.open_bundle(bundle, image_digest=IMAGE.digest, keys=keys, manifest="x").predicate == {}


def test_without_a_trusted_key_nothing_is_taken() -> None:
    with pytest.raises(Refused):
        evidence.open_bundle(sealed(KEY, b"{}"), image_digest=IMAGE.digest, keys=[], manifest="x")


def test_a_whole_set_is_signed_and_names_its_source() -> None:
    verdict = judge(Evidence(_whole(), []), IMAGE, DEMAND)

    assert (verdict.signed, verdict.source_url, verdict.sha, verdict.via) == (True, SOURCE, SHA, "provenance")
    assert verdict.predicates[attest.SBOM] == ("sha256:" + "3" * 64,)


@pytest.mark.parametrize(
    ("missing", "reason"),
    [(attest.SIGNATURE, "unsigned"), (attest.PROVENANCE, "missing_provenance"), (attest.SBOM, "missing_sbom")],
)
@pytest.mark.parametrize("demand", [DEMAND, None])
def test_each_predicate_is_demanded_by_name(missing: str, reason: str, demand: Demand | None) -> None:
    statements = [one for one in _whole() if one.predicate_type != missing]

    assert _reason(statements, demand) == reason


def test_an_image_without_anything_is_unsigned() -> None:
    assert _reason([], None) == "unsigned"


def test_a_rejected_object_explains_what_is_missing() -> None:
    rejected = Rejected("sha256:" + "9" * 64, attest.SIGNATURE, "wrong_key", "no trusted key made this signature")

    assert _reason([_provenance(), _sbom()], DEMAND, [rejected]) == "wrong_key"


def test_a_rejected_object_takes_nothing_away_from_a_good_one() -> None:
    rejected = Rejected("sha256:" + "9" * 64, attest.SIGNATURE, "wrong_key", "")

    assert judge(Evidence(_whole(), [rejected]), IMAGE, DEMAND).signed


@pytest.mark.parametrize(
    ("demand", "reason"),
    [
        (replace(DEMAND, source_url=SOURCE + ".git"), "wrong_source"),
        (replace(DEMAND, sha=OTHER_SHA), "wrong_commit"),
        (replace(DEMAND, builder_ids=frozenset({"https://other"})), "wrong_builder"),
        (replace(DEMAND, builder_ids=frozenset()), "wrong_builder"),
        (replace(DEMAND, predicates=evidence.DEFAULT | {"https://example/scan"}), "missing_predicate"),
    ],
)
def test_the_image_must_come_from_where_the_gate_expects(demand: Demand, reason: str) -> None:
    assert _reason(_whole(), demand) == reason


def test_of_several_provenances_one_must_hold_in_every_point() -> None:
    elsewhere = _provenance(facts(source_url="https://forge.example/evil", sha=OTHER_SHA), manifest="5")
    other_builder = _provenance(facts(sha=OTHER_SHA, builder_id="https://other"), manifest="6")

    assert _reason(_whole(elsewhere, other_builder), replace(DEMAND, sha=OTHER_SHA)) == "wrong_commit"


def test_a_link_gives_another_commit_the_same_image() -> None:
    verdict = judge(Evidence(_whole(_link()), []), IMAGE, replace(DEMAND, sha=OTHER_SHA))

    assert (verdict.via, verdict.sha, verdict.source_url) == ("link", OTHER_SHA, SOURCE)


@pytest.mark.parametrize(
    ("link", "reason"),
    [
        (_link(provenance="7"), "broken_link"),
        (_link(source_url="https://forge.example/evil"), "wrong_commit"),
        (_link(sha="f" * 40), "wrong_commit"),
    ],
)
def test_a_link_without_its_original_is_worth_nothing(link: Statement, reason: str) -> None:
    assert _reason(_whole(link), replace(DEMAND, sha=OTHER_SHA)) == reason


def test_a_link_does_not_hold_for_another_repository_than_its_original() -> None:
    evil = "https://forge.example/evil"
    elsewhere = _provenance(facts(source_url=evil), manifest="5")
    demand = replace(DEMAND, source_url=evil, sha=OTHER_SHA)

    assert _reason(_whole(elsewhere, _link(source_url=evil, provenance="2")), demand) == "broken_link"


def test_a_link_to_an_original_by_an_untrusted_builder_is_refused() -> None:
    demand = Demand(SOURCE, OTHER_SHA, frozenset({"https://other"}))

    assert _reason(_whole(_link()), demand) == "wrong_builder"


def test_without_a_demand_the_newest_provenance_names_the_source() -> None:
    newer = _provenance(replace(facts(sha=OTHER_SHA), finished_at="2027-01-01T00:00:00Z"), manifest="0")

    assert judge(Evidence(_whole(newer), []), IMAGE, None).sha == OTHER_SHA


def test_a_referrer_that_holds_no_bundle_is_passed_over() -> None:
    layer = Descriptor("application/vnd.example+json", IMAGE.digest, 3).document()

    assert evidence.bundle_layer(attest.compact({"layers": [layer]})) is None
    assert evidence.bundle_layer(attest.compact({"layers": "x"})) is None
    assert evidence.bundle_layer(b"[]") is None


@pytest.mark.parametrize(
    "layers",
    [
        [{"mediaType": attest.BUNDLE, "size": 1, "digest": IMAGE.digest}] * 2,
        [{"mediaType": attest.BUNDLE, "size": 1, "digest": "../../x"}],
        [{"mediaType": attest.BUNDLE, "size": -1, "digest": IMAGE.digest}],
        [{"mediaType": attest.BUNDLE, "digest": IMAGE.digest}],
    ],
)
def test_a_referrer_with_a_broken_bundle_layer_is_malformed(layers: list[object]) -> None:
    with pytest.raises(Refused) as caught:
        evidence.bundle_layer(json.dumps({"layers": layers}).encode())

    assert caught.value.reason == "malformed_attestation"


def test_the_label_of_a_referrer_is_read_but_not_believed() -> None:
    bundle = sealed(KEY, attest.sbom_statement(IMAGE, SPDX))
    manifest = attest.referrer(Descriptor(images.OCI_MANIFEST, IMAGE.digest, 1), bundle, attest.PROVENANCE)

    layer, label = evidence.bundle_layer(manifest.body) or pytest.fail("no bundle")

    assert (layer.digest, label) == (images.sha256(bundle), attest.PROVENANCE)
    assert _opened(bundle).predicate_type == attest.SBOM


def test_a_link_that_names_no_digest_is_invalid() -> None:
    with pytest.raises(Invalid):
        attest.link_statement(IMAGE, attest.Link(SOURCE, "refs/heads/main", SHA, "e" * 40, "key", "latest", "r-2"))
