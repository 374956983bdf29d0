"""Whose signatures are accepted while keys are rotated and retired."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import attest
from pipeline.errors import Invalid, Refused
from pipeline.evidence import open_bundle
from pipeline.images import ImageRef
from pipeline.keys import SigningKey, write_public
from pipeline.settings import Settings
from pipeline.trust import RetiredKey, accepted, known_by
from tests.support.forgeries import sealed

IMAGE = ImageRef("registry.example", "shop/web", "sha256:" + "1" * 64)
NOW, FORMER, GONE = (SigningKey.generate() for _ in range(3))


@pytest.fixture
def told(tmp_path: Path) -> Settings:
    for folder in ("accepted", "retired"):
        (tmp_path / "keys" / folder).mkdir(parents=True)
    write_public(tmp_path / "keys/signing.pub", NOW.public)
    return Settings(home=tmp_path)


def _signer(told: Settings, key: SigningKey) -> str:
    bundle = sealed(key, attest.signature_statement(IMAGE))
    try:
        return open_bundle(bundle, image_digest=IMAGE.digest, keys=accepted(told), manifest="").signer
    except Refused as error:
        return error.reason


def test_the_signing_key_alone_is_accepted_where_nothing_is_said(told: Settings) -> None:
    assert accepted(told) == (NOW.public,)
    assert accepted(replace(told, verify_keys=(), retired_keys=())) == (NOW.public,)


def test_a_rotated_key_stays_accepted_until_it_is_retired(told: Settings) -> None:
    write_public(told.home / "keys/accepted/former.pub", FORMER.public)
    assert [_signer(told, key) for key in (NOW, FORMER, GONE)] == [NOW.public.hint, FORMER.public.hint, "wrong_key"]

    (told.home / "keys/accepted/former.pub").rename(told.home / "keys/retired/former.pub")

    assert [_signer(told, key) for key in (NOW, FORMER)] == [NOW.public.hint, "retired_key"]
    assert accepted(told) == (NOW.public, RetiredKey(FORMER.public))


def test_a_refusal_names_the_retired_key_and_what_to_do(told: Settings) -> None:
    write_public(told.home / "keys/retired/gone.pub", GONE.public)
    bundle = sealed(GONE, attest.signature_statement(IMAGE))

    with pytest.raises(Refused) as caught:
        open_bundle(bundle, image_digest=IMAGE.digest, keys=accepted(told), manifest="")

    assert GONE.public.hint in caught.value.message
    assert "enclii rebuild" in caught.value.message


def test_files_are_named_one_by_one_too_and_one_that_is_missing_is_an_error(told: Settings) -> None:
    write_public(told.home / "former.pem", FORMER.public)
    listed = replace(told, verify_keys=(Path("former.pem"), Path("keys/accepted")))

    assert accepted(listed) == (NOW.public, FORMER.public)
    with pytest.raises(Invalid) as caught:
        accepted(replace(told, verify_keys=(Path("keys/none.pub"),)))
    assert caught.value.reason == "key_unreadable"


def test_a_key_that_is_accepted_and_retired_at_once_starts_nothing(told: Settings) -> None:
    write_public(told.home / "keys/retired/signing.pub", NOW.public)

    with pytest.raises(Invalid) as caught:
        accepted(told)

    assert caught.value.reason == "bad_key"
    assert NOW.public.hint in caught.value.message


def test_an_installation_is_known_by_what_signed_for_it(told: Settings) -> None:
    write_public(told.home / "keys/retired/former.pub", FORMER.public)

    assert [known_by(one) for one in accepted(told)] == [NOW.public.pem, FORMER.public.pem]
