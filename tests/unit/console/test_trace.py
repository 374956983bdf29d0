"""``enclii trace``: the steps of a push, out of what ``why`` answers."""

from __future__ import annotations

from typing import Any

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
         "created_at": "2026-03-01T10:01:33.000Z", "running_at": "2026-03-01T10:01:38.250Z"},
    ],
}  # fmt: skip


def test_each_stage_of_the_run_and_its_rollout_is_a_step_with_its_time() -> None:
    steps = list(trace._of_run(RUN, ANSWER))

    assert [(one["step"], one["after_seconds"], one["seconds"]) for one in steps] == [
        ("build", 1.0, 90.0), ("sign", 91.5, None), ("rollout production v2", 93.0, 5.25)]  # fmt: skip


def test_what_has_not_ended_has_no_time_yet() -> None:
    told = trace._told({"traces": ["a" * 32], "steps": list(trace._of_run(RUN, ANSWER))}).splitlines()

    assert told[0] == "trace " + "a" * 32
    assert [line.split()[-1] for line in told[2:]] == ["1m30s", "-", "5.2s"]
