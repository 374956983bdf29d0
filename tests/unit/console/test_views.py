"""What people see: columns, ages, and text that cannot drive a terminal."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from console import views
from console.texts import printable, span, suggestion

NOW = datetime.datetime(2026, 3, 2, 12, 0, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59.9, "59s"), (60, "1m"), (303, "5m3s"), (7_980, "2h13m"), (7_201, "2h"), (349_200, "4d1h")],
)
def test_a_span_has_at_most_two_units(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_control_characters_are_shown_and_not_obeyed() -> None:
    assert printable("a\x1b[31mb\x9bc\u202ed\n") == "a\\x1b[31mb\\x9bc\\x202ed\\n"


def test_what_is_parked_says_why_and_what_can_be_done() -> None:
    found = {"id": "k1", "consumer": "planner", "event_type": "delivery.received", "reason": "unexpected",
             "message": "it broke\x1b[2J", "attempts": 5, "at": "2026-03-02T11:59:00Z"}  # fmt: skip
    shown = views.parked({"parked": [found]}, NOW, relative=True).splitlines()
    assert shown[1].split() == [
        "k1",
        "planner",
        "delivery.received",
        "unexpected",
        "5",
        "1m",
        "ago",
        "it",
        "broke\\x1b[2J",
    ]
    assert "enclii parked retry ID" in shown[2]
    assert "enclii parked drop ID" in shown[2]
    assert views.parked({"parked": []}, NOW, relative=True) == "nothing is parked: no event waits for a person"


def test_text_in_every_script_stays() -> None:
    assert printable("größe\t日本語") == "größe\t日本語"


def test_a_near_name_is_suggested_and_else_all_names() -> None:
    assert suggestion("wbe", ["web", "worker"]) == "; did you mean web?"
    assert suggestion("xyz", ["web", "worker"]) == "; there is: web, worker"


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert views.table(("A", "B"), [["long", "x"], ["s", ""]]) == "A     B\nlong  x\ns"


def release(**more: Any) -> dict[str, Any]:
    return {
        "version": "v2", "live": ["production"], "status": "running", "git_sha": "2" * 40,
        "digest": "sha256:" + "b" * 64, "actor": "deployer", "via": "push", "created_at": "2026-03-02T10:00:00Z",
    } | more  # fmt: skip


def test_the_live_release_is_starred() -> None:
    text = views.releases({"releases": [release(), release(version="v1", live=[])]}, NOW, relative=True)
    assert [line.split()[0] for line in text.splitlines()] == ["REL", "v2*", "v1"]


@pytest.mark.parametrize(("relative", "ending"), [(True, "2h ago"), (False, "2026-03-02T10:00:00Z")])
def test_times_are_relative_for_people_only(relative: bool, ending: str) -> None:
    assert f"  {ending}  " in views.releases({"releases": [release()]}, NOW, relative=relative)


def test_a_log_line_keeps_its_bytes_for_a_pipe_and_not_for_a_terminal() -> None:
    line = {"text": "\x1b[2Jhi", "replica": "web.1"}
    assert views.log_line(line, prefix=True, safe=True) == "web.1 | \\x1b[2Jhi"
    assert views.log_line(line, prefix=False, safe=False) == "\x1b[2Jhi"


def test_a_stage_that_goes_on_counts_up_to_now() -> None:
    stages = [
        {"name": "build", "started_at": "2026-03-02T11:59:00Z", "finished_at": "2026-03-02T11:59:30Z"},
        {"name": "sign", "started_at": "2026-03-02T11:59:50Z", "finished_at": ""},
    ]
    job = {"service": "web", "status": "signing", "stages": stages, "reason": "", "message": ""}

    lines = [line for _, line in views.stages({"jobs": [job], "deployments": []}, NOW)]

    assert lines == ["web  build  done  30s", "web  sign  running  10s"]


def test_a_failed_job_tells_why() -> None:
    job = {"service": "web", "status": "failed", "stages": [], "reason": "build_failed", "message": "RUN exited 1"}
    lines = [line for _, line in views.stages({"jobs": [job], "deployments": []}, NOW)]
    assert lines == ["web  failed  build_failed: RUN exited 1"]
