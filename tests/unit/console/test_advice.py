from __future__ import annotations

import re
from pathlib import Path

import pytest

from console import cli
from console.advice import BY_REASON, next_step
from console.client import Failure

ROOT = Path(__file__).parents[3]
ROOMS = ("console", "gitops", "ingest", "pipeline")


def _raised() -> set[str]:
    texts = (file.read_text() for room in ROOMS for file in (ROOT / room).rglob("*.py"))
    return {reason for text in texts for reason in re.findall(r'reason="([a-z_]+)"', text)}


def test_there_is_advice_for_reasons_alone_that_somebody_gives() -> None:
    assert set(BY_REASON) - _raised() == set()


@pytest.mark.parametrize("exit_code", range(1, 8))
def test_nobody_is_left_with_what_failed_alone(exit_code: int) -> None:
    failure = Failure("it failed", reason="never_heard_of", exit_code=exit_code)
    assert f"\n  next: {next_step('', exit_code)}" in cli.explain(failure)
    assert next_step("", exit_code)


def test_who_failed_knows_best_what_to_do() -> None:
    failure = Failure("it is held", reason="held", exit_code=6, advice="enclii resume -p shop")
    assert cli.explain(failure).endswith("  next: enclii resume -p shop")
