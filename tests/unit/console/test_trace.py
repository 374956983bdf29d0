"""The steps of a push and of a command, out of what ``why`` answers, and how they are shown."""

from __future__ import annotations

from typing import Any

from console import steps
from console.commands import trace

RUN = {"id": "r-1", "created_at": "2026-03-01T10:00:00.000Z", "trace": f"00-{'a' * 32}-{'b' * 16}-01"}
STAGES = [
    {"name": "build", "started_at": "2026-03-01T10:00:01.000Z", "finished_at": "2026-03-01T10:01:31.000Z"},
    {"name": "sign", "started_at": "2026-03-01T10:01:31.500Z", "finished_at": ""},
]
ANSWER: dict[str, Any] = {
    "runs": [RUN],
    "jobs": [
        {"run": "r-1", "service": "web", "stages": STAGES},
        {"run": "r-2", "service": "api", "stages": STAGES},
    ],
    "deployments": [
        {"run": "r-1", "service": "web", "environment": "production", "release": "shop.web.v2",
         "config_commit": "c1", "created_at": "2026-03-01T10:01:33.000Z", "running_at": "2026-03-01T10:01:38.250Z"},
        {"run": "r-1", "service": "web", "environment": "production", "release": "shop.web.v2",
         "config_commit": "c2", "created_at": "2026-03-03T10:00:01.000Z", "running_at": "2026-03-03T10:00:02.500Z"},
    ],
}  # fmt: skip


def test_each_stage_of_the_run_and_its_rollout_is_a_step_with_its_time() -> None:
    found = list(steps.of_run(RUN, ANSWER, without={"c2"}))

    assert [(one["step"], one["after_seconds"], one["seconds"]) for one in found] == [
        ("build", 1.0, 90.0), ("sign", 91.5, None), ("rollout production v2", 93.0, 5.25)]  # fmt: skip


def test_what_has_not_ended_has_no_time_yet() -> None:
    told = trace._told({"traces": ["a" * 32], "steps": list(steps.of_run(RUN, ANSWER, without={"c2"}))}).splitlines()

    assert told[0] == "trace " + "a" * 32
    assert [line.split()[-1] for line in told[2:]] == ["1m30s", "-", "5.2s"]


def test_a_command_is_asked_committed_and_rolled_out_by_the_times_of_the_event_store() -> None:
    decision = {"id": "c-1/web", "service": "web", "config_commit": "c2" * 20, "outcome": "accepted",
                "at": "2026-03-03T10:00:00Z"}  # fmt: skip
    command = steps.Command(
        decision, "2026-03-03T10:00:00.100Z", "2026-03-03T10:00:00.150123456Z", "2026-03-03T10:00:00.400Z", "rollback"
    )

    found = list(steps.of_command(command, ANSWER["deployments"][1:]))

    assert [(one["command"], one["step"], one["after_seconds"], one["seconds"]) for one in found] == [
        ("c-1", "rollback asked", 0.0, 0.05), ("c-1", "commit c2c2c2c2c2c2", 0.05, 0.25),
        ("c-1", "rollout production v2", 0.3, 2.1)]  # fmt: skip


def test_a_command_whose_event_is_gone_has_the_times_that_git_knows() -> None:
    decision = {"id": "c-1", "service": "web", "config_commit": "", "outcome": "refused", "at": "2026-03-03T10:00:00Z"}

    found = list(steps.of_command(steps.Command(decision), []))

    assert [(one["step"], one["after_seconds"], one["seconds"]) for one in found] == [("refused", 0.0, 0.0)]
