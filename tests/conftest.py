"""Fixtures that every room shares, and guards that fail a test which touches what is not its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support.forgotten_ports import kept_from_tests

# A failure means the change, neither the dice nor a busy machine: the same examples each time, and no clock.
settings.register_profile(
    "enclii", deadline=None, database=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("enclii")


@pytest.fixture(autouse=True, scope="session")
def _no_port_that_leads_elsewhere() -> Iterator[None]:
    with kept_from_tests():
        yield


@pytest.fixture(autouse=True)
def _no_inherited_git(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "GIT_AUTHOR_NAME", "GIT_CONFIG_COUNT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")


@pytest.fixture
def run() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Run one coroutine to its end in a loop of its own."""
    return asyncio.run
