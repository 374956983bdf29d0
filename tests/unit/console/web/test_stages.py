"""The steps of a run, as its records tell them."""

from __future__ import annotations

import datetime
from typing import Any

from console.web.stages import steps

NOW = datetime.datetime(2026, 3, 2, 10, 1, tzinfo=datetime.UTC)


def _at(second: int) -> str:
    return f"2026-03-02T10:00:{second:02}.000Z"


def _job(status: str, *stages: tuple[str, int, int], reused: bool = False, finished: int = 0) -> dict[str, Any]:
    told = [{"name": n, "started_at": _at(b), "finished_at": _at(e) if e else ""} for n, b, e in stages]
    return {
        "service": "web", "status": status, "reused": reused, "stages": told, "created_at": _at(1),
        "finished_at": _at(finished) if finished else "",
    }  # fmt: skip


def _deployment(status: str, running: int = 0) -> dict[str, Any]:
    return {
        "service": "web", "environment": "production", "status": status, "config_commit": "c" * 40,
        "created_at": _at(21), "running_at": _at(running) if running else "", "finished_at": "",
    }  # fmt: skip


def test_a_run_that_went_well_shows_each_step_and_its_time() -> None:
    job = _job("deployed", ("build", 3, 10), ("sign", 11, 12), finished=14)

    assert steps({"deployments": [_deployment("running", 30)]}, job, NOW) == [
        ("queue", "done", "2s"), ("build", "done", "7s"), ("sign", "done", "1s"), ("commit", "done", "2s"),
        ("production", "done", "9s"),
    ]  # fmt: skip


def test_what_comes_after_the_step_at_work_waits() -> None:
    assert steps({"deployments": []}, _job("building", ("build", 3, 0)), NOW) == [
        ("queue", "done", "2s"), ("build", "now", "57s"), ("sign", "waits", ""), ("commit", "waits", ""),
        ("rollout", "waits", ""),
    ]  # fmt: skip


def test_behind_a_failed_step_nothing_waits() -> None:
    assert [one[:2] for one in steps({"deployments": []}, _job("failed", ("build", 3, 0)), NOW)] == [
        ("queue", "done"), ("build", "failed"),
    ]  # fmt: skip


def test_a_known_image_is_neither_built_nor_signed_again() -> None:
    found = steps({"deployments": [_deployment("failed")]}, _job("deployed", reused=True, finished=4), NOW)

    assert [one[:2] for one in found] == [
        ("queue", "done"), ("build", "known"), ("sign", "known"), ("commit", "done"), ("production", "failed"),
    ]  # fmt: skip


def test_a_rollout_that_once_ran_is_done_whatever_came_later() -> None:
    job = _job("deployed", ("build", 3, 10), ("sign", 11, 12), finished=14)

    assert steps({"deployments": [_deployment("rolled_back", 30)]}, job, NOW)[-1] == ("production", "done", "9s")
