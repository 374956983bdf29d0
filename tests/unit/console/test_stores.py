"""What each process may not publish."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from console import stores
from gitops.clusters import relay
from pipeline import retention_plan, secret_requests
from pipeline.events import (
    TYPES,
    BranchDeleted,
    BuildRequested,
    CheckAsked,
    CommentPosted,
    ConfigMoved,
    Delivery,
    DeploymentCommitted,
    DeploymentObserved,
    ImageBuilt,
    ImageRebuilt,
    LinkRequested,
    PreviewChanged,
    PreviewRequested,
    PullRequestChanged,
    ReleaseReady,
    RepositoryMoved,
    ServicesDeclared,
    WaitEnded,
)

NO_COMMANDS = {
    kind.type
    for kind in (
        BuildRequested, ConfigMoved, Delivery, DeploymentCommitted, DeploymentObserved, ImageBuilt, LinkRequested,
        ImageRebuilt,
        ReleaseReady, WaitEnded, CommentPosted, PreviewChanged, PreviewRequested, PullRequestChanged,
        BranchDeleted, CheckAsked, RepositoryMoved, ServicesDeclared,
    )
}  # fmt: skip


def denied(process: str, subject: str) -> bool:
    """As NATS reads a list: ``>`` stands for the rest."""
    return any(subject.startswith(pattern.removesuffix(">")) for pattern in stores.FORBIDDEN[process])


@pytest.mark.parametrize("process", ["receiver", "githost", "planner", "builder", "signer", "syncer", "door"])
@pytest.mark.parametrize("kind", sorted(TYPES.keys() - NO_COMMANDS))
def test_no_process_but_the_console_gives_commands(process: str, kind: str) -> None:
    assert denied(process, f"ev.{kind}.x")


@pytest.mark.parametrize("process", ["receiver", "githost", "builder", "signer", "committer", "syncer", "door"])
@pytest.mark.parametrize("subject", ["ev.preview.requested.x", "ev.preview.changed.x", "st.preview.x"])
def test_nobody_makes_a_preview_by_the_way(process: str, subject: str) -> None:
    assert denied(process, subject)


@pytest.mark.parametrize("process", sorted(stores.FORBIDDEN.keys() - {"console"}))
def test_only_the_console_asks_for_what_is_not_stored(process: str) -> None:
    assert denied(process, "rq.secrets.store")


@pytest.mark.parametrize("process", sorted(stores.FORBIDDEN.keys() - {"committer"}))
@pytest.mark.parametrize("kind", ["project", "repository", "promotion"])
def test_only_the_committer_says_what_the_config_repository_rules(process: str, kind: str) -> None:
    assert denied(process, f"st.{kind}.x")


def test_the_planner_alone_deletes_and_only_build_logs() -> None:
    logs, rest = "$JS.API.STREAM.PURGE.LOGS", ("PIPE", "HOOKS", "WEB", "LOGIN", "AUDIT")

    assert [process for process in stores.FORBIDDEN if not denied(process, logs)] == ["planner"]
    assert all(denied("planner", f"$JS.API.STREAM.PURGE.{name}") for name in rest)


@pytest.mark.parametrize(
    ("subject", "answers"),
    [(secret_requests.STORE_SUBJECT, "syncer"), (relay.LINES, "syncer"), (retention_plan.SUBJECT, "planner")],
)
def test_one_process_alone_hears_a_question(subject: str, answers: str) -> None:
    told = stores.nats(store=Path("s"), port=1, monitor=2, passwords=dict.fromkeys(stores.FORBIDDEN, "p"))
    heard = re.findall(r'user: "([a-z]+)".* subscribe: \{deny: (\[.*?\])', told)
    deaf = {name for name, denied in heard if any(subject.startswith(one[:-1]) for one in json.loads(denied))}

    assert {name for name, _ in heard} - deaf == {answers}
