"""Ten thousand broken objects for each reader of what lies beside an image: refused by a reason, or read; never else.

The objects are sound ones with bytes changed, doubled, cut and put in, always the same ones in every run.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from pipeline import attest, evidence, simplesigning
from pipeline.errors import EncliiError
from pipeline.images import OCI_MANIFEST, Descriptor, ImageRef
from pipeline.keys import SigningKey
from tests.support.forgeries import facts, sealed

INPUTS = 10_000
KEY = SigningKey.generate()
IMAGE = ImageRef("registry.example", "shop/web", "sha256:" + "a" * 64)
BUNDLE = sealed(KEY, attest.provenance_statement(IMAGE, facts()))
REFERRER = attest.referrer(Descriptor(OCI_MANIFEST, IMAGE.digest, 1), BUNDLE, attest.PROVENANCE)
INDEX = attest.merged_index(None, [REFERRER.descriptor()]) or b""
SIMPLE = simplesigning.manifest([simplesigning.layer(b"payload", simplesigning.noted(b"signature"))]).body
PIECES = (
    b"",
    b"\x00",
    b"\xff",
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b":",
    b",",
    b"null",
    b"-1",
    b"1e999",
    b"NaN",
    b"\\ud800",
    b"{" * 9,
)


def _opened(data: bytes) -> Any:
    return evidence.open_bundle(data, image_digest=IMAGE.digest, keys=[KEY.public], manifest=REFERRER.digest)


def _signed_anew(payload: bytes) -> Any:
    return _opened(sealed(KEY, payload))


def _broken(sound: bytes, chance: random.Random) -> bytes:
    data = bytearray(sound)
    for _ in range(chance.randint(1, 3)):
        at, length = chance.randrange(len(data) + 1), chance.choice((0, 1, 1, 4, 40))
        data[at : at + length] = chance.choice((chance.choice(PIECES), bytes(data[at : at + 20]), chance.randbytes(2)))
    return bytes(data)


@pytest.mark.parametrize(
    ("reader", "sound"),
    [
        (_opened, BUNDLE),
        (_signed_anew, attest.provenance_statement(IMAGE, facts())),
        (evidence.bundle_layer, REFERRER.body),
        (attest.index_entries, INDEX),
        (simplesigning.layers_of, SIMPLE),
    ],
    ids=["bundle", "signed-statement", "referrer", "list-of-referrers", "older-signature"],
)
def test_whatever_is_in_the_registry_is_read_or_refused(reader: Callable[[bytes], Any], sound: bytes) -> None:
    chance, refused = random.Random(7), 0  # noqa: S311 - the same objects in each run
    reader(sound)

    for _ in range(INPUTS):
        try:
            reader(_broken(sound, chance))
        except EncliiError as error:
            refused += bool(error.reason)

    assert refused > INPUTS / 2


def test_a_change_to_a_signed_payload_is_never_taken() -> None:
    chance, document = random.Random(8), json.loads(BUNDLE)  # noqa: S311 - the same in each run
    payload = document["dsseEnvelope"]["payload"]

    for _ in range(INPUTS // 5):
        at = chance.randrange(len(payload))
        changed = payload[:at] + chance.choice("ABCDefgh0123+/") + payload[at + 1 :]
        if changed == payload:
            continue
        document["dsseEnvelope"]["payload"] = changed
        with pytest.raises(EncliiError):
            _opened(json.dumps(document).encode())
