"""An upgrade in working hours: each process is restarted in its turn while people push, and every push counts once."""

from __future__ import annotations

from pathlib import Path

from tests.support.line import running_line
from tests.support.rolling import roll


def test_each_push_during_a_rolling_restart_is_one_release_and_one_config_commit(tmp_path: Path) -> None:
    with running_line(tmp_path / "home") as line:
        found = roll(line, tmp_path, projects=2, pushes=25)

    assert found.during
    assert list(found.releases.values()) == list(found.deploys.values()) == [1] * 50
    assert (found.lost, found.doubled) == ([], [])
