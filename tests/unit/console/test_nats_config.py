"""What each process may say and hear, as the servers' configuration has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from console import nats_config
from gitops.clusters import exec_relay, relay
from pipeline import build_secrets, previews, retention_plan, secret_requests
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
from pipeline.needs import NEEDS
from pipeline.rights import USERS, difference, rights_of

NO_COMMANDS = {
    kind.type
    for kind in (
        BuildRequested, ConfigMoved, Delivery, DeploymentCommitted, DeploymentObserved, ImageBuilt, LinkRequested,
        ImageRebuilt,
        ReleaseReady, WaitEnded, CommentPosted, PreviewChanged, PreviewRequested, PullRequestChanged,
        BranchDeleted, CheckAsked, RepositoryMoved, ServicesDeclared,
    )
}  # fmt: skip
OUTSIDE = {"console", "forge"}
TLS = nats_config.Tls("/tls/tls.crt", "/tls/tls.key", "/tls/ca.crt")


def may(process: str, subject: str) -> bool:
    return rights_of(process).may_publish(subject)


@pytest.mark.parametrize("process", sorted(NEEDS.keys() - OUTSIDE))
@pytest.mark.parametrize("kind", sorted(TYPES.keys() - NO_COMMANDS))
def test_no_process_but_those_that_people_speak_to_gives_commands(process: str, kind: str) -> None:
    assert not may(process, f"ev.{kind}.x")


@pytest.mark.parametrize("process", sorted(NEEDS.keys() - {"planner", "console", "forge"}))
@pytest.mark.parametrize("subject", ["ev.preview.requested.x", "ev.preview.changed.x", "st.preview.x"])
def test_nobody_makes_a_preview_by_the_way(process: str, subject: str) -> None:
    assert not may(process, subject)


@pytest.mark.parametrize("process", sorted(NEEDS.keys() - {"console"}))
def test_only_the_console_asks_for_what_is_not_stored(process: str) -> None:
    assert not may(process, "rq.secrets.store")


@pytest.mark.parametrize("process", sorted(NEEDS.keys() - {"committer"}))
@pytest.mark.parametrize("kind", ["project", "repository", "promotion", "target", "config"])
def test_only_the_committer_says_what_the_config_repository_rules(process: str, kind: str) -> None:
    assert not may(process, f"st.{kind}.x")


def test_the_planner_alone_deletes_and_only_build_logs() -> None:
    purging = [(user, name) for user in USERS for name in ("LOGS", "PIPE", "AUDIT", "WEB", "LOGIN", "HOOKS")
               if may(user, f"$JS.API.STREAM.PURGE.{name}")]  # fmt: skip

    assert purging == [("planner", "LOGS")]


@pytest.mark.parametrize("process", sorted(NEEDS))
@pytest.mark.parametrize("call", ["STREAM.UPDATE.PIPE", "STREAM.DELETE.PIPE", "STREAM.CREATE.X", "STREAM.SNAPSHOT.WEB"])
def test_no_process_changes_copies_or_removes_a_stream(process: str, call: str) -> None:
    assert not may(process, f"$JS.API.{call}")


def test_a_process_reads_what_it_follows_and_touches_nobody_elses_consumer() -> None:
    assert may("door", "$JS.API.CONSUMER.CREATE.PIPE.r-1.st.route.*")
    assert not may("door", "$JS.API.CONSUMER.CREATE.PIPE.r-1.st.token.*")
    assert may("door", "$JS.API.CONSUMER.MSG.NEXT.PIPE.r-1")
    for taken in ("MSG.NEXT.PIPE.committer", "DELETE.PIPE.committer", "CREATE.PIPE.committer.st.route.*"):
        assert not may("door", f"$JS.API.CONSUMER.{taken}")


QUESTIONS = {
    secret_requests.KEY_SUBJECT: "syncer", secret_requests.STORE_SUBJECT: "syncer",
    build_secrets.KEY_SUBJECT: "builder", build_secrets.KEEP_SUBJECT: "builder", build_secrets.LIST_SUBJECT: "builder",
    retention_plan.SUBJECT: "planner", previews.HITS: "planner",
    **dict.fromkeys((relay.OPEN, relay.CHECK, relay.LINES, relay.DIFF, relay.MANIFEST), "syncer"),
    **dict.fromkeys((exec_relay.OPEN, exec_relay.TYPED, exec_relay.PRINTED, exec_relay.END), "syncer"),
}  # fmt: skip


@pytest.mark.parametrize(("subject", "answers"), QUESTIONS.items())
def test_one_process_alone_hears_a_question(subject: str, answers: str) -> None:
    assert [user for user in USERS if rights_of(user).may_listen(subject)] == [answers]


@pytest.mark.parametrize("user", USERS)
def test_a_user_that_is_as_rendered_differs_in_nothing(user: str) -> None:
    assert not difference(user, nats_config.permissions(user))


def test_rights_that_are_missing_or_too_many_are_named() -> None:
    told = nats_config.permissions("builder")
    told["publish"]["allow"].remove("ev.image.built.*")
    told["publish"]["allow"].append("st.release.>")
    told["subscribe"]["allow"].append("rq.secrets.*")

    found = difference("builder", told)

    assert found.few == ("publish ev.image.built.*",)
    assert found.many == ("publish st.release.>", "listen on rq.secrets.*")
    assert "builder may not, though it must: publish ev.image.built.*" in found.told()


def test_no_permissions_at_all_are_all_permissions_and_far_too_many() -> None:
    found = difference("door", {})

    assert found.few == ()
    assert {"publish >", "listen on >"} <= set(found.many)


def test_a_member_of_a_cluster_holds_no_password_and_demands_certificates() -> None:
    at = nats_config.Member(nats_config.Reference("POD_NAME"), routes=[f"nats-{n}.nats:6222" for n in range(3)])

    text = nats_config.member(at, tls=TLS)

    assert "server_name: $POD_NAME" in text
    assert 'password: $ENCLII_NATS_BUILDER, permissions: {"publish"' in text
    assert text.count('cert_file: "/tls/tls.crt"') == 2
    assert text.count("verify: true") == 1  # of routes; who connects shows a password
    assert text.count('"nats://nats-') == 3
    assert "sync_interval: always" in text


def test_a_single_server_has_no_routes_and_everything_else() -> None:
    text = nats_config.member(nats_config.Member("one"), tls=TLS)

    assert "cluster {" not in text
    assert "ENCLII: {" in text


def test_the_configuration_for_one_machine_stays_on_it() -> None:
    text = nats_config.local(store=Path("s"), port=1, monitor=2, passwords=dict.fromkeys(USERS, "p"))

    assert 'listen: "127.0.0.1:1"' in text
    assert text.count("{user: ") == len(USERS)
