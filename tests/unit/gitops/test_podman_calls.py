"""What podman answers while containers, not only ours, come and go."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gitops.clusters.podman_calls import Calls
from pipeline.errors import Unavailable

CALLS = Calls({"PATH": "/usr/bin:/bin"})


def once(seen: Path, message: str) -> tuple[str, ...]:
    """A question that fails the first time, as podman does."""
    failing = f"touch {seen}; echo 'Error: {message}' >&2; exit 125"
    return ("sh", "-c", f"[ -e {seen} ] && echo web.1 || {{ {failing}; }}")


def test_a_question_is_asked_again_while_a_neighbour_leaves(tmp_path: Path) -> None:
    argv = once(tmp_path / "asked", "joining network namespace of container b0b9: unknown FS magic")

    assert asyncio.run(CALLS.names(argv, "list leftovers")) == ["web.1"]


def test_any_other_failure_is_told_at_once(tmp_path: Path) -> None:
    argv = once(tmp_path / "asked", "database is locked")

    with pytest.raises(Unavailable, match="database is locked"):
        asyncio.run(CALLS.names(argv, "list leftovers"))
