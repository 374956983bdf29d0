"""Notices: what records make one, how it reads, how it is signed, and who is told by ``project.yaml``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from gitops import projectfile
from gitops.forge import notices
from gitops.forge.destinations import host_and_port, read, signature, slack
from gitops.forge.notices import Notice
from pipeline.errors import Invalid, Refused
from pipeline.previews import Preview, PreviewRef
from pipeline.records import Deployment, Target
from pipeline.runs import Run

FAILED = Deployment(
    id="d-1", project="shop", environment="production", service="web", release="shop.web.v2", image="i",
    status="failed", reason="unhealthy", message="/healthz answers 500", config_commit="c",
)  # fmt: skip


def test_a_project_that_says_nothing_notifies_nobody() -> None:
    assert projectfile.parse(b"{}", project="shop").notifications == {}
    said = projectfile.parse(b"notifications: {team: [failure, hold]}", project="shop")
    assert said.notifications == {"team": ("failure", "hold")}


@pytest.mark.parametrize("said", ["{team: [success]}", "{Team!: [failure]}", "{team: failure}", "[team]"])
def test_a_wrong_field_is_named(said: str) -> None:
    with pytest.raises(Invalid, match="notifications"):
        projectfile.parse(f"notifications: {said}".encode(), project="shop")


def test_a_failure_a_hold_and_a_preview_make_notices() -> None:
    failure = notices.of_deployment(FAILED)
    assert failure is not None
    assert (failure.kind, failure.title) == ("failure", "shop/production/web failed")
    held = Target(
        project="shop", environment="production", service="web", deployment="d-1", release="r", image="i", sha="s",
        config_commit="c", hold_by="ada", hold_reason="checkout 500s", hold_since="2026-11-23T12:00:00Z",
    )  # fmt: skip
    hold = notices.of_target(held)
    assert hold is not None
    assert hold.text == "by ada: checkout 500s"
    preview = Preview(
        id="shop.preview-2", project="shop", repository="github:1", environment="preview-2", state="ready"
    )
    ready = notices.of_preview(preview)
    assert ready is not None
    assert ready.title == "shop/preview-2 is ready"


def test_a_webhook_is_signed_as_the_specification_s_example() -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    said = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert said == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_what_people_wrote_calls_nobody_in_slack() -> None:
    told = slack(Notice("i", "failure", "shop", "a <!channel>", "<@U1> & more", "d-1"), "https://enclii.test/why")
    assert "<!channel>" not in told
    assert "<@U1>" not in told


@pytest.mark.parametrize(
    ("fields", "mode", "reason"),
    [
        ({"kind": "slack", "url": "https://x.test"}, 0o644, "credential_open"),
        ({"kind": "slack"}, 0o600, "destination_unfit"),
        ({"kind": "webhook", "url": "https://x.test", "secret": "plain"}, 0o600, "destination_unfit"),
        ({"kind": "email", "server": "x.test:25"}, 0o600, "destination_unfit"),
        (
            {"kind": "email", "server": "x.test:smtp", "sender": "a@x.test", "to": ["b@x.test"]},
            0o600,
            "destination_unfit",
        ),
    ],
)
def test_an_unfit_destination_is_refused_and_not_quoted(
    tmp_path: Path, fields: dict[str, str], mode: int, reason: str
) -> None:
    (tmp_path / "notify").mkdir()
    file = tmp_path / "notify/team.json"
    file.write_text(json.dumps(fields))
    file.chmod(mode)
    with pytest.raises(Refused) as caught:
        read(tmp_path, "team")
    assert caught.value.reason == reason
    assert "x.test" not in str(caught.value)


def test_each_time_that_a_deployment_becomes_unwell_is_another_notice() -> None:
    seen = [("degraded", "10:00"), ("running", "10:01"), ("degraded", "10:02"), ("failed", "10:03")]
    found = [notices.of_deployment(replace(FAILED, status=status, since=since)) for status, since in seen]
    assert len({one.id for one in found if one}) == 4
    assert found[0] == notices.of_deployment(replace(FAILED, status="degraded", since="10:00"))


def test_a_failed_build_is_a_failure_and_a_preview_s_is_told_as_the_preview() -> None:
    run = Run(
        id="r-1", project="shop", repository="1", ref="main", sha="a" * 40, actor="ada", subject_line="Add a cart",
        delivery="d", created_at="2026-11-23T12:00:00.000Z", status="failed", reason="build_failed", message="exit 1",
    )  # fmt: skip
    failure = notices.of_run(run)
    assert failure is not None
    assert (failure.kind, failure.text, failure.about) == ("failure", "exit 1 (build_failed)", "r-1")
    assert notices.of_run(replace(run, status="succeeded")) is None
    assert notices.of_run(replace(run, preview=PreviewRef(environment="preview-2"))) is None


@pytest.mark.parametrize(
    ("server", "place"),
    [("x.test:587", ("x.test", 587)), ("[::1]:587", ("::1", 587)), ("[::1]", ("::1", 0)), ("x.test", ("x.test", 0))],
)
def test_a_mail_server_is_a_host_and_perhaps_a_port(server: str, place: tuple[str, int]) -> None:
    assert host_and_port(server) == place
