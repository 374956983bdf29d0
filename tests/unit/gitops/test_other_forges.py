"""GitLab, Gitea and Forgejo: what is asked and said, by a door that keeps it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from gitops.forge import Check, Opened, Proposal, Where
from gitops.forge.credentials import Credential
from gitops.forge.door import Answer
from gitops.forge.others import Gitea, GitLab
from pipeline.errors import Invalid

SHOP = Where("x:7", "shop/shop")
CHECK = Check("b" * 40, "enclii/web", "success", "web is released", "https://enclii.test/why?about=r-1")
PROPOSAL = Proposal("enclii/promote-1", "main", "Promote shop/web", "merging deploys it")
MARK = "<!-- enclii:pr=2 -->"


class Kept:
    """Answers from a table, by ``VERB path``; keeps what was sent."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = answers
        self.sent: list[tuple[str, Any]] = []

    async def send(
        self, verb: str, path: str, body: Any = None, *, params: Mapping[str, str] | None = None, tag: str = ""
    ) -> Answer:
        self.sent.append((f"{verb} {path}", body))
        found = self.answers.get(f"{verb} {path}")
        return found if isinstance(found, Answer) else Answer(404 if found is None else 200, {}, found)


def test_gitlab_is_told_and_asked_by_the_project_s_number() -> None:
    notes = "/projects/7/merge_requests/2/notes"
    door = Kept({
        "GET /user": {"username": "enclii"},
        "POST /projects/7/statuses/" + "b" * 40: {"id": 1},
        f"GET {notes}": [
            {"id": 4, "body": MARK, "author": {"username": "stranger"}},
            {"id": 5, "body": MARK, "author": {"username": "enclii"}},
        ],
        f"PUT {notes}/5": {"id": 5},
        "GET /projects/7/members/all": [
            {"username": "ada", "access_level": 40}, {"username": "adam", "access_level": 50},
        ],
    })  # fmt: skip
    gitlab = GitLab(Credential(forge="gitlab", api="https://gitlab.test/api/v4", token="t"), door)
    assert asyncio.run(gitlab.check(SHOP, CHECK, "")) == "1"
    assert door.sent[0][1]["state"] == "success"
    assert asyncio.run(gitlab.say(SHOP, 2, MARK, f"{MARK} now", "")) == "5"
    assert [asyncio.run(gitlab.level(SHOP, who)) for who in ("ada", "nobody")] == ["maintain", "none"]


def test_gitea_and_forgejo_are_told_by_the_name_that_the_repository_has() -> None:
    comments = "/repos/shop/shop/issues/2/comments"
    door = Kept({
        "GET /user": {"login": "enclii"},
        f"GET {comments}": [],
        f"POST {comments}": {"id": 9},
        "GET /repos/shop/shop/collaborators/ada/permission": {"permission": "owner"},
    })  # fmt: skip
    forgejo = Gitea(Credential(forge="forgejo", api="https://codeberg.org/api/v1", token="t"), door)
    assert forgejo.name == "forgejo"
    assert asyncio.run(forgejo.say(SHOP, 2, MARK, f"{MARK} now", "3")) == "9"
    assert door.sent[0][0] == "PATCH /repos/shop/shop/issues/comments/3"
    assert [asyncio.run(forgejo.level(SHOP, who)) for who in ("ada", "nobody")] == ["admin", "none"]


def test_gitlab_has_one_merge_request_of_a_branch_and_tells_a_commit_s_checks() -> None:
    requests = "/projects/7/merge_requests"
    made = {
        "iid": 3, "web_url": "https://gitlab.test/shop/shop/-/merge_requests/3", "title": "old", "description": "",
        "state": "opened", "sha": "b" * 40, "source_branch": "enclii/promote-1", "target_branch": "main",
        "source_project_id": 7, "target_project_id": 7,
    }  # fmt: skip
    theirs = made | {"iid": 2, "source_project_id": 9}
    statuses = [{"name": "e2e", "status": "success"}, {"name": "e2e", "status": "skipped"}]
    running = [{"name": "lint", "status": "running"}]
    door = Kept({
        f"GET {requests}": [theirs], f"POST {requests}": made, f"PUT {requests}/3": made,
        f"GET /projects/7/repository/commits/{'b' * 40}/statuses": statuses + running,
    })  # fmt: skip
    gitlab = GitLab(Credential(forge="gitlab", api="https://gitlab.test/api/v4", token="t"), door)
    assert asyncio.run(gitlab.propose(SHOP, PROPOSAL)) == Opened(3, str(made["web_url"]))
    door.answers = {**door.answers, f"GET {requests}": [theirs, made]}
    assert asyncio.run(gitlab.propose(SHOP, PROPOSAL)).number == 3
    assert [said for said, _ in door.sent].count(f"POST {requests}") == 1
    assert door.sent[-1] == (f"PUT {requests}/3", {"title": PROPOSAL.title, "description": PROPOSAL.body})
    assert asyncio.run(gitlab.checks(SHOP, "b" * 40)) == {"e2e": "failure", "lint": "pending"}


def test_gitea_has_one_pull_request_of_a_branch_though_the_first_answer_was_lost() -> None:
    pulls, here = "/repos/shop/shop/pulls", {"id": 7}
    made = {
        "number": 3, "html_url": "https://codeberg.org/shop/shop/pulls/3", "title": PROPOSAL.title,
        "body": PROPOSAL.body, "state": "open", "head": {"ref": "enclii/promote-1", "sha": "b" * 40, "repo": here},
        "base": {"ref": "main", "repo": here},
    }  # fmt: skip
    states = {"statuses": [{"context": "e2e", "status": "success"}, {"context": "lint", "status": "warning"}]}
    door = Kept({
        f"GET {pulls}": [], f"POST {pulls}": Answer(409, {}, {"message": "pull request already exists"}),
        f"GET /repos/shop/shop/commits/{'b' * 40}/status": states,
    })  # fmt: skip
    forgejo = Gitea(Credential(forge="forgejo", api="https://codeberg.org/api/v1", token="t"), door)
    with pytest.raises(Invalid):
        asyncio.run(forgejo.propose(SHOP, PROPOSAL))
    door.answers = {**door.answers, f"GET {pulls}": [made]}
    assert asyncio.run(forgejo.propose(SHOP, PROPOSAL)) == Opened(3, str(made["html_url"]))
    assert [said for said, _ in door.sent].count(f"POST {pulls}") == 1
    assert asyncio.run(forgejo.checks(SHOP, "b" * 40)) == {"e2e": "success", "lint": "failure"}
