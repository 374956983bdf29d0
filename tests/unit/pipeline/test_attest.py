from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from pipeline import attest, images
from pipeline.errors import Invalid
from pipeline.images import Descriptor, ImageRef
from tests.support.forgeries import SPDX, facts

IMAGE = ImageRef("127.0.0.1:5000", "shop/web", "sha256:" + "1" * 64)
ONE = "1" * 64


def _entry(digit: str) -> Descriptor:
    return Descriptor(images.OCI_MANIFEST, "sha256:" + digit * 64, 7, attest.BUNDLE)


def test_the_signature_statement_is_to_the_byte_what_cosign_reads() -> None:
    expected = (
        '{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"' + ONE + '"}}],'
        '"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{}}'
    )

    assert attest.signature_statement(IMAGE) == expected.encode()


def test_the_pre_authentication_encoding_counts_bytes() -> None:
    assert attest.pae("é".encode()) == b"DSSEv1 28 application/vnd.in-toto+json 2 \xc3\xa9"


def test_the_bundle_has_one_signature_and_no_key_id() -> None:
    expected = (
        b'{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":"H"}},'
        b'"dsseEnvelope":{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"AQI="}]}}'
    )

    assert attest.bundle(b"{}", b"\x01\x02", "H") == expected


def test_the_referrer_manifest_is_to_the_byte_what_cosign_reads() -> None:
    subject = Descriptor(images.OCI_MANIFEST, IMAGE.digest, 9)
    expected = (
        '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":'
        '"application/vnd.oci.empty.v1+json","size":2,"digest":'
        '"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","artifactType":'
        '"application/vnd.dev.sigstore.bundle.v0.3+json"},"layers":[{"mediaType":'
        '"application/vnd.dev.sigstore.bundle.v0.3+json","size":2,"digest":'
        '"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}],"annotations":'
        '{"dev.sigstore.bundle.content":"dsse-envelope","dev.sigstore.bundle.predicateType":"P"},"subject":{"mediaType":'
        f'"application/vnd.oci.image.manifest.v1+json","size":9,"digest":"{IMAGE.digest}"}},"artifactType":'
        '"application/vnd.dev.sigstore.bundle.v0.3+json"}'
    )

    manifest = attest.referrer(subject, b"{}", "P")

    assert manifest.body == expected.encode()
    assert manifest.digest == images.sha256(manifest.body)


def test_the_provenance_names_source_commit_bases_builder_run_and_log() -> None:
    predicate = attest.provenance_predicate(facts())

    assert predicate == {
        "buildDefinition": {
            "buildType": "https://enclii.dev/buildtypes/image/v1",
            "externalParameters": {
                "source": "git+https://forge.example/shop/web",
                "ref": "refs/heads/main",
                "path": "web",
                "kind": "dockerfile",
                "buildArgs": {"COLOR": "blue"},
            },
            "internalParameters": {},
            "resolvedDependencies": [
                {"uri": "git+https://forge.example/shop/web@refs/heads/main", "digest": {"gitCommit": "a" * 40}},
                {"uri": "pkg:docker/debian@12", "digest": {"sha256": "b" * 64}},
            ],
        },
        "runDetails": {
            "builder": {"id": "https://enclii.example/builder/test"},
            "metadata": {
                "invocationId": "r-1",
                "startedOn": "2026-01-02T03:04:05Z",
                "finishedOn": "2026-01-02T03:04:06Z",
            },
            "byproducts": [{"name": "build.log", "digest": {"sha256": "c" * 64}}],
        },
    }


def test_the_sbom_is_the_predicate_itself() -> None:
    statement = json.loads(attest.sbom_statement(IMAGE, SPDX))

    assert statement["predicate"] == json.loads(SPDX)
    assert statement["subject"] == [{"name": "127.0.0.1:5000/shop/web", "digest": {"sha256": ONE}}]


@pytest.mark.parametrize("sbom", [b"", b"[]", b"{}", b'{"spdxVersion":"CycloneDX"}', b'\xff{"spdxVersion":"SPDX-2.3"}'])
def test_what_is_no_spdx_document_is_not_attested(sbom: bytes) -> None:
    with pytest.raises(Invalid) as caught:
        attest.sbom_statement(IMAGE, sbom)

    assert caught.value.reason == "bad_sbom"


def test_the_index_is_sorted_and_says_what_it_is() -> None:
    index = attest.merged_index(None, [_entry("b"), _entry("a")])

    assert index is not None
    assert index.startswith(b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[')
    assert [entry["digest"][7] for entry in json.loads(index)["manifests"]] == ["a", "b"]


def test_what_others_wrote_into_the_index_stays() -> None:
    foreign: dict[str, Any] = {**_entry("c").document(), "urls": ["x"], "annotations": {"k": "v"}}
    existing = attest.compact({"mediaType": images.OCI_INDEX, "manifests": [foreign], "annotations": {"a": "b"}})

    index = json.loads(attest.merged_index(existing, [_entry("a")]) or b"")

    assert index["manifests"] == [_entry("a").document(), foreign]
    assert index["annotations"] == {"a": "b"}


def test_nothing_is_written_when_nothing_is_missing() -> None:
    existing = attest.merged_index(None, [_entry("a")])

    assert attest.merged_index(existing, [_entry("a")]) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"mediaType":"application/vnd.oci.image.manifest.v1+json"}',
        b'{"mediaType":"application/vnd.oci.image.index.v1+json","manifests":{}}',
        b'{"mediaType":"application/vnd.oci.image.index.v1+json","manifests":["x"]}',
        b'{"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"m","size":1,"digest":"../x"}]}',
        b'{"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"m","size":true,"digest":"'
        + IMAGE.digest.encode()
        + b'"}]}',
    ],
)
def test_an_index_that_is_none_is_refused_and_never_overwritten(body: bytes) -> None:
    with pytest.raises(Invalid):
        attest.merged_index(body, [_entry("a")])


@pytest.mark.parametrize(
    "text",
    [
        "web@sha256:" + "1" * 64,
        "127.0.0.1:5000/shop/web:v1",
        "127.0.0.1:5000/shop/web@sha256:" + "A" * 64,
        "127.0.0.1:5000/../web@sha256:" + "1" * 64,
        "127.0.0.1:5000/shop//web@sha256:" + "1" * 64,
        "127.0.0.1:5000/shop/Web@sha256:" + "1" * 64,
        "user@host/shop/web@sha256:" + "1" * 64,
        "127.0.0.1:5000/shop/web@sha256:" + "1" * 64 + "\n",
        "",
    ],
)
def test_only_a_whole_name_with_a_digest_is_an_image(text: str) -> None:
    with pytest.raises(Invalid):
        ImageRef.parse(text)


def test_an_image_is_read_as_it_is_written() -> None:
    assert ImageRef.parse(str(IMAGE)) == IMAGE


def test_naming_an_image_loads_neither_http_nor_cryptography() -> None:
    code = "import sys, pipeline.images, pipeline.attest; print({'httpx2', 'cryptography'} & set(sys.modules))"

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert loaded.strip() == "set()"
