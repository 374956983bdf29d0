from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ingest.githost_hooks import REFS_LIMIT, Update, install, updates
from pipeline.errors import Invalid

A, B = "a" * 40, "b" * 40


def test_a_line_is_an_update() -> None:
    assert updates([f"{A} {B} refs/heads/main"]) == [Update(A, B, "refs/heads/main")]


@pytest.mark.parametrize(
    "line",
    [
        f"{A} {B} refs/notes/x",
        f"{A} {B} HEAD",
        f"{A} {B} refs/heads/../x",
        f"{A[:-1]} {B} refs/heads/x",
        f"x {B} refs/heads/x",
    ],
)
def test_other_refs_and_ids_are_refused(line: str) -> None:
    with pytest.raises(Invalid):
        updates([line])


def test_too_many_refs_at_once_are_refused() -> None:
    with pytest.raises(Invalid, match="may move"):
        updates([f"{A} {B} refs/heads/b{number}" for number in range(REFS_LIMIT + 1)])


@pytest.mark.parametrize(("hook", "code"), [("pre-receive", 1), ("post-receive", 0)])
def test_without_a_git_host_nothing_is_accepted_and_nothing_accepted_is_undone(
    tmp_path: Path, hook: str, code: int
) -> None:
    install(tmp_path / "hooks")
    env = {"ENCLII_HOOK_SOCKET": str(tmp_path / "none.sock"), "ENCLII_PUSH": "p"}
    done = subprocess.run([tmp_path / "hooks" / hook], input=b"", env=env, capture_output=True, timeout=60, check=False)
    assert done.returncode == code
    assert done.stderr.startswith(b"enclii: ")
