"""The audit of the locked packages, run as ``make check`` and ``make audit`` do, on locks and indexes of our own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.answering import answering
from tests.support.line import ROOT

HASH = "    --hash=sha256:" + "a" * 64
SOUND = f"nobodys-package==1.0 \\\n{HASH}\n"


def audit(folder: Path, lock: str, *words: str) -> subprocess.CompletedProcess[str]:
    (folder / "lock").write_text(lock)
    told = ("--lock", str(folder / "lock"), "--told", str(folder / "told.json"))
    argv = (sys.executable, str(ROOT / ".ci/audit"), *told, *words)
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def asked(folder: Path, about: Any) -> subprocess.CompletedProcess[str]:
    with answering(lambda *_: (200, about) if about else (404, {})) as index:
        return audit(folder, SOUND, "--ask", "--index", index)


def release(*advisories: str, yanked: bool = False) -> dict[str, Any]:
    """What the index says of a release."""
    return {"info": {"yanked": yanked}, "vulnerabilities": [{"id": one, "withdrawn": None} for one in advisories]}


def test_what_nobody_asked_for_is_said_to_be_skipped(tmp_path: Path) -> None:
    done = audit(tmp_path, SOUND)

    assert (done.returncode, done.stderr) == (0, "")
    assert "SKIPPED" in done.stdout


@pytest.mark.parametrize(
    ("lock", "said"),
    [
        ("somebody>=1.0\n", "not pinned: somebody>=1.0"),
        ("somebody==1.0\n", "somebody: no hash"),
        (f"pytest==0.1 \\\n{HASH}\n", "pytest: "),
    ],
    ids=["a range", "no hash", "another version"],
)
def test_a_lock_that_says_too_little_or_what_is_not_installed_is_refused(tmp_path: Path, lock: str, said: str) -> None:
    done = audit(tmp_path, lock)

    assert done.returncode == 1
    assert said in done.stderr


def test_a_vulnerability_and_a_withdrawn_release_are_found_and_stay_found_without_a_network(tmp_path: Path) -> None:
    assert asked(tmp_path, release("GHSA-1", yanked=True)).returncode == 1

    done = audit(tmp_path, SOUND)

    assert done.returncode == 1
    assert "nobodys-package 1.0: GHSA-1" in done.stderr
    assert "was withdrawn" in done.stderr


def test_a_release_of_which_nothing_is_known_passes_with_the_day_of_asking(tmp_path: Path) -> None:
    done = asked(tmp_path, release())

    assert done.returncode == 0
    assert "known vulnerabilities as of 2" in done.stdout


def test_an_index_that_does_not_answer_is_said_and_nothing_is_stored(tmp_path: Path) -> None:
    done = asked(tmp_path, None)

    assert done.returncode == 1
    assert "does not tell of nobodys-package 1.0" in done.stderr
    assert not (tmp_path / "told.json").exists()
