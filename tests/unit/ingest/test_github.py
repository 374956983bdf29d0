from __future__ import annotations

import hashlib
import hmac
import os
import zlib
from pathlib import Path

import pytest

from ingest.github import FORGE
from ingest.hooks import BODY_KEPT, Secret, Verifier, deliveries_of
from pipeline.errors import Invalid
from pipeline.events import Delivery

DATA = Path(__file__).parents[2] / "data/github"
HEADERS = {"x-github-event": "push", "x-github-delivery": "72D3162E-cc78-11e3-81ab-4c9367dc0958"}
DOCUMENTED = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"


def read(body: bytes, **headers: str) -> Delivery:
    named = {f"x-github-{name}": value for name, value in headers.items()}
    [found] = deliveries_of(FORGE, HEADERS | named, body, hook="shop", kid="k1", body_sha256="", at="")
    return found


def verified(header: str, *secrets: Secret, body: bytes = b"Hello, World!") -> str | None:
    verifier = Verifier(secrets, now=100.0, given=FORGE.given({"x-hub-signature-256": header}, 100.0))
    for at in range(0, len(body), 5):
        verifier.update(body[at : at + 5])
    return verifier.signer()


def test_the_documented_signature_is_accepted() -> None:
    assert verified(DOCUMENTED, Secret("k1", b"It's a Secret to Everybody")) == "k1"


def test_the_secret_that_matches_is_named() -> None:
    secrets = (Secret("new", b"new"), Secret("old", b"It's a Secret to Everybody", not_after=101.0))
    assert verified(DOCUMENTED, *secrets) == "old"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "sha256=",
        DOCUMENTED[:-1],
        DOCUMENTED + "0",
        DOCUMENTED.upper(),
        DOCUMENTED[7:],
        "sha1=" + "0" * 40,
        "é" * 71,
    ],
)
def test_any_other_header_is_refused(header: str) -> None:
    assert verified(header, Secret("k1", b"It's a Secret to Everybody")) is None


def test_an_expired_secret_signs_nothing() -> None:
    assert verified(DOCUMENTED, Secret("k1", b"It's a Secret to Everybody", not_after=100.0)) is None


def test_an_empty_secret_signs_nothing() -> None:
    header = "sha256=" + hmac.new(b"", b"Hello, World!", hashlib.sha256).hexdigest()
    assert verified(header, Secret("k1", b"")) is None


def test_no_secret_at_all_signs_nothing() -> None:
    assert verified(DOCUMENTED) is None


def test_a_push_becomes_a_delivery_keyed_by_numbers() -> None:
    found = read((DATA / "push.json").read_bytes())
    assert found.id == "github:shop:72d3162e-cc78-11e3-81ab-4c9367dc0958"
    assert (found.repository, found.ref, found.actor) == ("github:186853002", "refs/heads/main", "octo-deployer")
    assert (found.before[:7], found.after[:7]) == ("6113728", "a10867b")


def test_the_body_is_kept_compressed() -> None:
    body = (DATA / "push.json").read_bytes()
    assert zlib.decompress(read(body).body) == body


def test_a_body_too_large_to_keep_is_known_by_its_hash_alone() -> None:
    filler = os.urandom(2 * BODY_KEPT).hex()
    body = (DATA / "push.json").read_bytes().rstrip()[:-1] + b', "filler": "' + filler.encode() + b'"}'
    assert read(body).body == b""


@pytest.mark.parametrize(
    ("file", "ref"),
    [
        ("push_tag.json", "refs/tags/v1.0"),
        ("push_branch_deleted.json", "refs/heads/topic"),
        ("push_forced.json", "refs/heads/main"),
    ],
)
def test_tags_deletions_and_forced_pushes_are_pushes_too(file: str, ref: str) -> None:
    assert read((DATA / file).read_bytes()).ref == ref


def test_a_ping_may_come_without_a_repository() -> None:
    assert read(b'{"zen": "Design for failure.", "hook_id": 1}', event="ping").repository == ""


def test_an_event_of_another_type_keeps_its_name() -> None:
    found = read((DATA / "issues_opened.json").read_bytes(), event="issues")
    assert (found.kind, found.repository) == ("issues", "github:186853002")


def test_a_body_under_another_event_s_name_is_refused() -> None:
    with pytest.raises(Invalid):
        read((DATA / "push.json").read_bytes(), event="ping")


@pytest.mark.parametrize("login", ["", "a b", "x\\n", "-x", "a" * 80])
def test_a_login_that_is_none_becomes_unknown(login: str) -> None:
    assert read(b'{"sender": {"login": "%s"}}' % login.encode(), event="star").actor == "unknown"


@pytest.mark.parametrize("event", ["", "Push", "a.b", "x" * 65])
def test_an_event_name_that_is_none_is_refused(event: str) -> None:
    with pytest.raises(Invalid):
        read(b"{}", event=event)
