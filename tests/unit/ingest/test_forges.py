"""What each forge's recorded webhooks say, in our words; and what proves who sent them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ingest.forges import FORGES
from ingest.gitlab import signing_token
from ingest.hooks import Given, Secret, Verifier, deliveries_of
from pipeline.errors import Invalid
from pipeline.events import Delivery

DATA = Path(__file__).parents[2] / "data"
GUID = "72d3162e-cc78-11e3-81ab-4c9367dc0958"
SECRET = hashlib.sha256(b"a hook").hexdigest().encode()
HEADERS: Mapping[str, Mapping[str, str]] = {
    "github": {"x-github-delivery": GUID},
    "gitlab": {"x-gitlab-event": "Push Hook", "idempotency-key": GUID},
    "gitea": {"x-gitea-delivery": GUID},
    "forgejo": {"x-forgejo-delivery": GUID},
    "bitbucket": {"x-request-uuid": GUID},
}
KIND = {"github": "x-github-event", "gitea": "x-gitea-event", "forgejo": "x-forgejo-event", "bitbucket": "x-event-key"}


def body(file: str, **changed: Any) -> bytes:
    return json.dumps(json.loads((DATA / file).read_bytes()) | changed).encode()


def read(forge: str, data: bytes, event: str = "", **headers: str) -> list[Delivery]:
    said = {**HEADERS[forge], **({KIND[forge]: event} if event else {}), **headers}
    return deliveries_of(FORGES[forge], said, data, hook="shop", kid="k1", body_sha256="", at="")


def one(forge: str, file: str, event: str = "", **changed: Any) -> Delivery:
    [found] = read(forge, body(f"{forge if forge != 'forgejo' else 'gitea'}/{file}.json", **changed), event)
    return found


PULLS = [
    ("github", "pull_request_opened", "opened", 2, "open"),
    ("github", "pull_request_synchronize", "pushed", 2, "open"),
    ("github", "pull_request_reopened", "reopened", 2, "open"),
    ("github", "pull_request_closed", "closed", 2, "closed"),
    ("github", "pull_request_converted_to_draft", "drafted", 2, "open"),
    ("github", "pull_request_ready_for_review", "readied", 2, "open"),
    ("gitlab", "merge_request_opened", "opened", 1, "open"),
    ("gitlab", "merge_request_closed", "closed", 1, "closed"),
    ("gitlab", "merge_request_merged", "closed", 1, "closed"),
    ("gitlab", "merge_request_reopened", "reopened", 1, "open"),
    ("gitlab", "merge_request_ready", "drafted", 3, "open"),
    ("gitea", "pull_request_opened", "opened", 1, "open"),
    ("gitea", "pull_request_synchronized", "pushed", 1, "open"),
    ("gitea", "pull_request_reopened", "reopened", 1, "open"),
    ("forgejo", "pull_request_closed", "closed", 1, "closed"),
    ("bitbucket", "pullrequest_created", "opened", 1, "open"),
    ("bitbucket", "pullrequest_updated", "pushed", 1, "open"),
    ("bitbucket", "pullrequest_fulfilled", "closed", 1, "closed"),
    ("bitbucket", "pullrequest_rejected", "closed", 2, "closed"),
]


@pytest.mark.parametrize(("forge", "file", "action", "number", "state"), PULLS)
def test_a_pull_request_is_told_in_the_same_words_by_every_forge(
    forge: str, file: str, action: str, number: int, state: str
) -> None:
    event = {"bitbucket": file.replace("_", ":", 1)}.get(forge, "pull_request" if forge != "gitlab" else "")
    found = one(forge, file, event)
    assert (found.kind, found.action) == ("pull_request", action)
    assert found.pull is not None
    assert (found.pull.number, found.pull.state, found.pull.fork) == (number, state, False)
    assert found.repository.startswith(f"{forge}:")
    assert found.pull.source == found.repository


@pytest.mark.parametrize(
    ("forge", "file", "event", "action"),
    [
        ("github", "issue_comment_created", "issue_comment", "created"),
        ("github", "issue_comment_edited", "issue_comment", "edited"),
        ("github", "issue_comment_deleted", "issue_comment", "deleted"),
        ("gitlab", "note", "", "created"),
        ("gitea", "comment_created", "issue_comment", "created"),
        ("gitea", "comment_edited", "issue_comment", "edited"),
        ("forgejo", "comment_deleted", "issue_comment", "deleted"),
        ("bitbucket", "pullrequest_comment_created", "pullrequest:comment_created", "created"),
    ],
)
def test_a_comment_is_told_in_the_same_words_by_every_forge(forge: str, file: str, event: str, action: str) -> None:
    changed = below_a_pull_request(file) if forge == "github" else {}
    found = one(forge, file, event, **changed)
    assert (found.kind, found.action) == ("comment", action)
    assert found.comment is not None
    assert found.comment.number >= 1
    assert found.comment.body
    assert not found.comment.bot


def below_a_pull_request(file: str) -> dict[str, Any]:
    """GitHub's example is of an issue; below a pull request the issue has this object too."""
    issue = json.loads((DATA / f"github/{file}.json").read_bytes())["issue"]
    return {"issue": issue | {"pull_request": {"url": "https://api.github.com/repos/Codertocat/Hello-World/pulls/1"}}}


def test_a_comment_below_an_issue_is_none_of_ours() -> None:
    assert one("github", "issue_comment_created", "issue_comment").comment is None
    assert one("gitlab", "note_issue").comment is None
    assert one("gitea", "issue_comment", "issue_comment").comment is None


def test_comments_by_bots_and_apps_are_told_apart() -> None:
    comment = json.loads((DATA / "github/issue_comment_created.json").read_bytes())["comment"]
    issue = below_a_pull_request("issue_comment_created")
    for bot in ({"user": comment["user"] | {"type": "Bot"}}, {"performed_via_github_app": {"id": 1}}, {"user": None}):
        found = one("github", "issue_comment_created", "issue_comment", comment=comment | bot, **issue)
        assert found.comment is not None
        assert found.comment.bot


@pytest.mark.parametrize("head", [None, {"id": 7, "full_name": "stranger/hello"}])
def test_rule_7_a_head_in_another_repository_or_in_none_is_a_fork(head: dict[str, Any] | None) -> None:
    pull = json.loads((DATA / "github/pull_request_opened.json").read_bytes())["pull_request"]
    pull["head"]["repo"] = head
    found = one("github", "pull_request_opened", "pull_request", pull_request=pull).pull
    assert found is not None
    assert (found.fork, found.source) == (True, "github:7" if head else "")


def test_a_new_base_is_a_retarget_and_a_new_title_is_nothing() -> None:
    base = {"base": {"ref": {"from": "main"}, "sha": {"from": "a" * 40}}}
    assert one("github", "pull_request_opened", "pull_request", action="edited", changes=base).pull is not None
    title = one("github", "pull_request_opened", "pull_request", action="edited", changes={"title": {"from": "x"}})
    assert (title.action, title.pull) == ("edited", None)
    assert one("gitea", "pull_request_edited", "pull_request").pull is None


@pytest.mark.parametrize(
    ("forge", "file", "event", "ref"),
    [
        ("gitlab", "push", "", "refs/heads/master"),
        ("gitlab", "push_tag", "", "refs/tags/v1.0.0"),
        ("gitea", "push", "push", "refs/heads/master"),
        ("forgejo", "push", "push", "refs/heads/master"),
        ("bitbucket", "push", "repo:push", "refs/heads/master"),
        ("bitbucket", "push_tag", "repo:push", "refs/tags/feature/x"),
    ],
)
def test_a_push_is_told_in_the_same_words_by_every_forge(forge: str, file: str, event: str, ref: str) -> None:
    found = one(forge, file, event)
    assert (found.kind, found.ref, len(found.after), len(found.before)) == ("push", ref, 40, 40)


def test_a_deleted_branch_ends_in_zeros_and_several_branches_are_several_deliveries() -> None:
    assert set(one("bitbucket", "push_branch_deleted", "repo:push").after) == {"0"}
    assert set(one("gitlab", "push_branch_deleted").after) == {"0"}
    [change] = json.loads((DATA / "bitbucket/push.json").read_bytes())["push"]["changes"]
    found = read("bitbucket", body("bitbucket/push.json", push={"changes": [change, change]}), "repo:push")
    assert [one.id for one in found] == [f"bitbucket:shop:{GUID}", f"bitbucket:shop:{GUID}:1"]


@pytest.mark.parametrize(
    ("file", "kind", "action"),
    [
        ("check_run_rerequested", "check_run", "rerequested"),
        ("check_run_requested_action", "check_run", "requested_action"),
        ("deployment", "deployment", "created"),
        ("delete", "delete", ""),
        ("installation_created", "installation", "created"),
        ("installation_deleted", "installation", "deleted"),
        ("repository_renamed", "repository", "renamed"),
        ("repository_transferred", "repository", "transferred"),
    ],
)
def test_github_s_other_events_are_told_by_name_and_number(file: str, kind: str, action: str) -> None:
    found = one("github", file, kind)
    assert (found.kind, found.action) == (kind, action)
    assert (found.check is not None) == (kind == "check_run")
    assert bool(found.repository) == (kind != "installation")


def test_bitbucket_s_short_commit_ids_are_not_taken_for_commits() -> None:
    found = one("bitbucket", "pullrequest_created", "pullrequest:created").pull
    assert found is not None
    assert found.head == ""


def signed(forge: str, data: bytes = b"{}", **headers: str) -> str | None:
    given: Given = FORGES[forge].given(headers, 1_000.0)
    verifier = Verifier([Secret("k1", SECRET)], now=1_000.0, given=given)
    verifier.update(data)
    return verifier.signer()


def mac(data: bytes) -> str:
    return hmac.new(SECRET, data, hashlib.sha256).hexdigest()


def standard(at: str = "1000", identity: str = GUID, data: bytes = b"{}") -> dict[str, str]:
    key = base64.b64decode(signing_token(SECRET).removeprefix("whsec_"))
    proof = hmac.new(key, f"{identity}.{at}.".encode() + data, hashlib.sha256).digest()
    signature = f"v1a,unknown v1,{base64.b64encode(proof).decode()}"
    return {"webhook-id": identity, "webhook-timestamp": at, "webhook-signature": signature}


def test_rule_1_each_forge_s_own_proof_is_taken() -> None:
    assert signed("gitea", **{"x-gitea-signature": mac(b"{}")}) == "k1"
    assert signed("forgejo", **{"x-forgejo-signature": mac(b"{}")}) == "k1"
    assert signed("bitbucket", **{"x-hub-signature": "sha256=" + mac(b"{}")}) == "k1"
    assert signed("gitlab", **{"x-gitlab-token": SECRET.decode()}) == "k1"
    assert signed("gitlab", **standard()) == "k1"


@pytest.mark.parametrize(
    ("forge", "headers"),
    [
        ("gitea", {"x-gitea-signature": ""}),
        ("gitea", {"x-hub-signature-256": "sha256=" + mac(b"{}")}),
        ("forgejo", {}),
        ("bitbucket", {"x-hub-signature": mac(b"{}")}),
        ("gitlab", {}),
        ("gitlab", {"x-gitlab-token": "wrong"}),
        ("gitlab", standard(at="600")),
        ("gitlab", standard(at="x")),
        ("gitlab", standard(data=b"other")),
        ("gitlab", standard(identity="a.b")),
        ("gitlab", {"webhook-signature": "v1,", "x-gitlab-token": SECRET.decode()}),
    ],
)
def test_rule_1_any_other_proof_is_refused(forge: str, headers: dict[str, str]) -> None:
    assert signed(forge, **headers) is None


def test_a_body_that_is_no_event_is_refused_by_every_forge() -> None:
    events = {"github": "push", "gitea": "push", "forgejo": "push", "bitbucket": "repo:push"}
    for forge in FORGES:
        with pytest.raises(Invalid):
            read(forge, b'{"object_kind": "push", "ref": 1}', events.get(forge, ""))


@pytest.mark.parametrize("at", ["9" * 13, "9" * 5_000, "", "-1000", "1e3", "\u0661\u0662"])
def test_a_time_that_is_no_plain_number_of_seconds_proves_nothing(at: str) -> None:
    assert signed("gitlab", **standard(at=at)) is None
