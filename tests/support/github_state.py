"""What the tests' GitHub remembers, which the tests change as people would."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NUMBER = 186853002
APP = {"id": 7, "slug": "enclii-test", "login": "enclii-test[bot]"}
TOKEN = "github_pat_of_the_tests"
OWNER = "enclii-machine"
HOUR = 5_000


@dataclass
class Failure:
    """What to answer in place of the truth, so many times; ``heard``: what was asked is done all the same."""

    match: str
    status: int = 500
    times: int = 1
    message: str = "Server Error"
    headers: Mapping[str, str] = field(default_factory=dict)
    hang: float = 0.0
    heard: bool = False


@dataclass
class GitHub:
    """The state; the tests change it as people would."""

    url: str = ""
    name: str = "shop/shop"
    levels: dict[str, str] = field(default_factory=lambda: {"ada": "admin", "mia": "maintain", "will": "write"})
    pulls: dict[int, dict[str, Any]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=lambda: {"main": "a" * 40})
    comments: dict[int, dict[str, Any]] = field(default_factory=dict)
    reactions: list[tuple[str, str]] = field(default_factory=list)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    checks: dict[int, dict[str, Any]] = field(default_factory=dict)
    deployments: dict[int, dict[str, Any]] = field(default_factory=dict)
    deliveries: list[dict[str, Any]] = field(default_factory=list)
    redelivered: list[int] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    tokens: dict[str, dict[str, Any]] = field(default_factory=dict)
    permissions: dict[str, str] = field(
        default_factory=lambda: dict.fromkeys(
            ("checks", "deployments", "issues", "pull_requests", "statuses"), "write"
        ) | {"contents": "read", "metadata": "read"}
    )  # fmt: skip
    events: tuple[str, ...] = ("push", "pull_request", "issue_comment", "check_run", "delete", "repository")
    failures: list[Failure] = field(default_factory=list)
    hook: dict[str, str] = field(default_factory=dict)
    ids: Any = field(default_factory=lambda: itertools.count(1_000))

    def pull(self, number: int, head: str, *, state: str = "open", fork: bool = False, **more: Any) -> dict[str, Any]:
        """Open or change a pull request."""
        source = {"id": 7, "full_name": "stranger/shop"} if fork else {"id": NUMBER, "full_name": self.name}
        self.pulls[number] = {
            "number": number, "state": state, "draft": False, "merged": False, "updated_at": "2026-11-23T12:00:00Z",
            "user": {"login": "will", "type": "User"}, "head": {"ref": "topic", "sha": head, "repo": source},
            "base": {"ref": "main", "sha": "a" * 40, "repo": {"id": NUMBER, "full_name": self.name}}, **more,
        }  # fmt: skip
        return self.pulls[number]

    def comment(self, number: int, body: str, author: str = "will") -> int:
        """Somebody writes; the comment's id."""
        made = next(self.ids)
        self.comments[made] = {"id": made, "issue": number, "body": body, "user": {"login": author, "type": "User"}}
        return made

    def ours(self, number: int) -> list[str]:
        """What Enclii wrote below a pull request."""
        own = (APP["login"], OWNER)
        return [one["body"] for one in self.comments.values() if one["issue"] == number and one["user"]["login"] in own]

    def fail(self, match: str, status: int = 500, **more: Any) -> Failure:
        """Answer requests whose ``VERB /path`` matches with a failure."""
        self.failures.append(Failure(match, status, **more))
        return self.failures[-1]

    def said(self, verb: str, path: str) -> int:
        """How many requests there were."""
        return sum(1 for v, p in self.requests if v == verb and re.search(path, p))
