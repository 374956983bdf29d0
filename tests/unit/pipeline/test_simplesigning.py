from __future__ import annotations

import json

import pytest

from pipeline import attest, simplesigning
from pipeline.errors import Invalid
from pipeline.images import ImageRef, sha256
from pipeline.keys import SigningKey

KEY = SigningKey.generate()
IMAGE = ImageRef("127.0.0.1:5000", "shop/web", "sha256:" + "a" * 64)
SIGNED = simplesigning.payload(IMAGE)


def test_the_payload_names_the_digest_and_the_repository() -> None:
    critical = json.loads(SIGNED)["critical"]
    assert critical["image"]["docker-manifest-digest"] == IMAGE.digest
    assert critical["identity"]["docker-reference"] == "127.0.0.1:5000/shop/web"


def test_the_tag_is_the_digest_with_an_ending() -> None:
    assert simplesigning.tag(IMAGE.digest) == f"sha256-{'a' * 64}.sig"


def test_a_manifest_gives_back_its_layers_and_names_its_own_configuration() -> None:
    layers = [simplesigning.layer(SIGNED, simplesigning.noted(KEY.sign(SIGNED)))]
    made = simplesigning.manifest(layers)
    assert simplesigning.layers_of(made.body) == layers
    assert json.loads(made.body)["config"]["digest"] == sha256(simplesigning.config(layers))


def test_only_the_key_that_signed_is_found() -> None:
    layers = [simplesigning.layer(SIGNED, simplesigning.noted(KEY.sign(SIGNED)))]
    assert simplesigning.signed_by(layers, SIGNED, KEY.public)
    assert not simplesigning.signed_by(layers, SIGNED, SigningKey.generate().public)
    assert not simplesigning.signed_by(layers, SIGNED + b" ", KEY.public)


@pytest.mark.parametrize("text", ["", "%%%", None, 7])
def test_a_layer_without_a_readable_signature_proves_nothing(text: object) -> None:
    one = simplesigning.layer(SIGNED, {simplesigning.ANNOTATION: text})
    assert not simplesigning.signed_by([one], SIGNED, KEY.public)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"layers":1}', b'{"layers":[1]}', b'{"layers":[{}]}'])
def test_what_is_no_manifest_of_signatures_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid):
        simplesigning.layers_of(body)


def test_the_same_facts_give_the_same_bytes() -> None:
    again = SigningKey.from_pem(KEY.pem)
    one, two = (
        simplesigning.manifest([simplesigning.layer(SIGNED, simplesigning.noted(key.sign(SIGNED)))])
        for key in (KEY, again)
    )
    assert one == two
    assert attest.compact(json.loads(one.body)) == one.body
