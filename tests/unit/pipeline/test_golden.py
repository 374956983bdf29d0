"""Recorded attestations: what strangers' tools read stays as it is, to the byte, unless somebody means to change it.

The files in ``tests/data/attestations`` are what each kind of statement was when it was last changed on purpose; times,
ids and digests are fixed. To change one on purpose, write what the failing test shows and say in the changelog what
readers will see.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline import attest, simplesigning, summary
from pipeline.attest import Link, Provenance, Reproduction
from pipeline.images import OCI_MANIFEST, Descriptor, ImageRef
from pipeline.isolation import CONTAINER, builder_id
from pipeline.summary import Summary

RECORDED = Path(__file__).parents[2] / "data" / "attestations"
IMAGE = ImageRef("registry.example", "shop/web", "sha256:" + "1" * 64)
BUILDER = builder_id("https://enclii.dev/builders/one-machine", CONTAINER)
BEGAN, ENDED = "2026-01-02T03:04:05Z", "2026-01-02T03:04:06Z"
SPDX = {
    "spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "name": "web", "documentNamespace": "https://x.example/1",
    "packages": [{"name": "left-pad", "SPDXID": "SPDXRef-1", "versionInfo": "1.3.0", "licenseDeclared": "MIT"}],
}  # fmt: skip
CYCLONEDX = {
    "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
    "components": [{"type": "library", "name": "left-pad", "version": "1.3.0", "purl": "pkg:npm/left-pad@1.3.0"}],
}  # fmt: skip
PROVENANCE = Provenance(
    source_url="https://forge.example/shop/web", ref="refs/heads/main", sha="a" * 40, path="web", kind="dockerfile",
    build_args={"COLOR": "blue", "A": "b"}, builder_id=BUILDER, invocation_id="r-1", started_at=BEGAN,
    finished_at=ENDED, bases=[("pkg:docker/debian@12", "sha256:" + "b" * 64)], log_digest="sha256:" + "c" * 64,
    tool="buildkit 0.28.1",
)  # fmt: skip
LINK = Link(
    source_url="https://forge.example/shop/web", ref="refs/heads/main", sha="d" * 40, tree="e" * 40,
    build_key="f" * 64, provenance="sha256:" + "2" * 64, run="r-2",
)  # fmt: skip
AGAIN = Reproduction(
    rebuilt=IMAGE.digest, failure="", builder_id=BUILDER, tool="buildkit 0.28.1", provenance="sha256:" + "2" * 64,
    started_at=BEGAN, finished_at=ENDED,
)  # fmt: skip
PASSED = Summary(
    verifier="https://enclii.dev/verifiers/one-machine", verified_at=ENDED, policy_uri="shop/policy.yaml",
    policy_digest="sha256:" + "3" * 64, inputs=["sha256:" + "5" * 64, "sha256:" + "4" * 64], passed=True,
)  # fmt: skip

MADE: dict[str, Callable[[], bytes]] = {
    "signature": lambda: attest.signature_statement(IMAGE),
    "provenance": lambda: attest.provenance_statement(IMAGE, PROVENANCE),
    "spdx": lambda: attest.sbom_statement(IMAGE, attest.compact(SPDX)),
    "cyclonedx": lambda: attest.cyclonedx_statement(IMAGE, attest.compact(CYCLONEDX)),
    "link": lambda: attest.link_statement(IMAGE, LINK),
    "summary": lambda: summary.statement(IMAGE, PASSED),
    "reproduction": lambda: attest.reproduction_statement(IMAGE, AGAIN),
    "bundle": lambda: attest.bundle(attest.signature_statement(IMAGE), b"\x30\x06", "aGludA=="),
    "referrer": lambda: attest.referrer(Descriptor(OCI_MANIFEST, IMAGE.digest, 9), b"{}", attest.SIGNATURE).body,
    "simplesigning": lambda: simplesigning.payload(IMAGE),
    "simplesigning-manifest": lambda: (
        simplesigning.manifest(
            [simplesigning.layer(simplesigning.payload(IMAGE), simplesigning.noted(b"\x30\x06"))]
        ).body
    ),
}


@pytest.mark.parametrize("kind", sorted(MADE))
def test_what_is_written_is_to_the_byte_what_was_recorded(kind: str) -> None:
    assert MADE[kind]() == (RECORDED / f"{kind}.json").read_bytes().removesuffix(b"\n")


def test_every_record_is_compared() -> None:
    assert {file.stem for file in RECORDED.glob("*.json")} == set(MADE)


def _predicate(kind: str) -> dict[str, Any]:
    document = json.loads(MADE[kind]())
    assert document.keys() == {"_type", "subject", "predicateType", "predicate"}
    found: dict[str, Any] = document["predicate"]
    return found


def _only(value: dict[str, Any], required: set[str], optional: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    assert required <= value.keys() <= required | optional


RESOURCE = {"uri", "digest", "name", "downloadLocation", "mediaType", "content", "annotations"}


def test_the_provenance_has_the_fields_of_slsa_v1_and_no_others() -> None:
    provenance = _predicate("provenance")
    _only(provenance, {"buildDefinition", "runDetails"})
    definition, run = provenance["buildDefinition"], provenance["runDetails"]

    _only(definition, {"buildType", "externalParameters"}, {"internalParameters", "resolvedDependencies"})
    _only(run, {"builder"}, {"metadata", "byproducts"})
    _only(run["builder"], {"id"}, {"builderDependencies", "version"})
    _only(run["metadata"], set(), {"invocationId", "startedOn", "finishedOn"})
    for one in (*definition["resolvedDependencies"], *run["byproducts"]):
        _only(one, set(), RESOURCE)
        assert one.keys() & {"uri", "digest", "content"}


def test_the_summary_has_the_fields_of_slsas_verification_summary_and_no_others() -> None:
    told = _predicate("summary")
    required = {"verifier", "timeVerified", "resourceUri", "policy", "verificationResult", "verifiedLevels"}

    _only(told, required, {"inputAttestations", "dependencyLevels", "slsaVersion"})
    _only(told["verifier"], {"id"}, {"version"})
    assert told["verificationResult"] in ("PASSED", "FAILED")
    for one in (told["policy"], *told["inputAttestations"]):
        _only(one, {"digest"}, RESOURCE)
