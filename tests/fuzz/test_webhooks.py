"""Webhooks of every forge: read or refused, never an error of ours; and nothing is stored that nobody signed."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.forges import FORGES
from ingest.hooks import Secret, Verifier, deliveries_of
from pipeline import names
from pipeline.errors import Invalid
from pipeline.events import Delivery
from tests.fuzz.inputs import documents, fuzzed
from tests.integration.test_receiver import LIMIT, NEW, SECRETS, Room, in_room

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

DATA = Path(__file__).parents[1] / "data"
GUID = "72d3162e-cc78-11e3-81ab-4c9367dc0958"
SOUND = {
    forge: sorted((DATA / forge.replace("forgejo", "gitea")).glob("*.json")) for forge in FORGES
}  # Forgejo says what Gitea says
EVENTS = {
    "github": ("push", "ping", "pull_request", "issue_comment", "check_run", "delete", "repository", "issues"),
    "gitlab": ("Push Hook", "Tag Push Hook", "Merge Request Hook", "Note Hook"),
    "gitea": ("push", "pull_request", "issue_comment", "delete"),
    "forgejo": ("push", "pull_request", "issue_comment", "delete"),
    "bitbucket": ("repo:push", "pullrequest:created", "pullrequest:updated", "pullrequest:comment_created"),
}
EVENT = {"github": "x-github-event", "gitlab": "x-gitlab-event", "gitea": "x-gitea-event",
         "forgejo": "x-forgejo-event", "bitbucket": "x-event-key"}  # fmt: skip
ID = {"github": "x-github-delivery", "gitlab": "idempotency-key", "gitea": "x-gitea-delivery",
      "forgejo": "x-forgejo-delivery", "bitbucket": "x-request-uuid"}  # fmt: skip
PROOF = {"github": "x-hub-signature-256", "gitlab": "x-gitlab-token", "gitea": "x-gitea-signature",
         "forgejo": "x-forgejo-signature", "bitbucket": "x-hub-signature"}  # fmt: skip
VALUE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=80)


def bodies(forge: str) -> st.SearchStrategy[bytes]:
    return documents([file.read_bytes() for file in SOUND[forge]])


def proof(forge: str, body: bytes, key: bytes) -> str:
    mac = hmac.new(key, body, hashlib.sha256).hexdigest()
    return {"github": f"sha256={mac}", "bitbucket": f"sha256={mac}", "gitlab": key.decode()}.get(forge, mac)


@pytest.mark.parametrize("forge", FORGES)
def test_a_body_is_deliveries_or_no_event(forge: str) -> None:
    @fuzzed
    @given(bodies(forge), st.sampled_from(EVENTS[forge]) | VALUE, st.just(GUID) | VALUE)
    def each(body: bytes, event: str, guid: str) -> None:
        headers = {EVENT[forge]: event, ID[forge]: guid}
        try:
            found = deliveries_of(FORGES[forge], headers, body, hook="shop", kid="k", body_sha256="", at="")
        except Invalid:
            return
        assert found
        for one in found:
            assert msgspec.json.decode(msgspec.json.encode(one), type=Delivery) == one
            assert one.ref == "" or names.ref(one.ref) == one.ref
            assert all(sha == "" or names.SHA.fullmatch(sha) for sha in (one.before, one.after))

    each()


@pytest.mark.parametrize("forge", FORGES)
def test_no_proof_but_the_right_one_is_taken(forge: str) -> None:
    body = SOUND[forge][0].read_bytes()
    right = proof(forge, body, NEW)

    @fuzzed
    @given(st.integers(0, len(right)), st.integers(0, 3), VALUE | st.just("sha256=") | st.just(right))
    def each(at: int, length: int, piece: str) -> None:
        said = right[:at] + piece + right[at + length :]
        verifier = Verifier([Secret("k", NEW)], now=0.0, given=FORGES[forge].given({PROOF[forge]: said}, 0.0))
        verifier.update(body)
        assert verifier.signer() == ("k" if said.lower() == right or said == right else None)

    each()


def test_a_receiver_answers_whatever_comes_and_stores_what_was_signed_alone(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        loop, taken = asyncio.get_running_loop(), [0]

        @fuzzed
        @given(st.data(), st.sampled_from(sorted(FORGES)), st.booleans(), st.uuids())
        def each(data: st.DataObject, forge: str, signed: bool, guid: object) -> None:
            body = data.draw(bodies(forge))
            event = data.draw(st.sampled_from(EVENTS[forge]))
            headers = {EVENT[forge]: event, ID[forge]: str(guid), "Content-Type": "application/json"}
            headers[PROOF[forge]] = proof(forge, body, NEW if signed else b"a guess")
            answer = asyncio.run_coroutine_threadsafe(posted(room, forge, body, headers), loop).result(LIMIT)
            assert answer.status_code in ((200, 202, 400) if signed else (401,)), answer.text
            assert json.loads(answer.content)
            taken[0] += answer.status_code == 202

        await asyncio.to_thread(each)
        stored = await room.deliveries()
        assert len(stored) >= taken[0] > 0
        assert {one.secret_id for one in stored} == {SECRETS["shop"][0].kid}

    in_room(tmp_path, scenario)


async def posted(room: Room, forge: str, body: bytes, headers: dict[str, str]) -> Any:
    return await room.client.post(f"{room.url}/hooks/{forge}/shop", content=body, headers=headers)
