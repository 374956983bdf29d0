"""``make demo`` promises 0 only for what was seen: here are the ways in which it does not see it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from console import ports
from console.demo import seen
from pipeline.errors import Unavailable

ROOT = Path(__file__).parents[2]


def demo(home: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run it as ``make demo`` does, on a state folder that nothing was started in."""
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "ENCLII_HOME": str(home / "state"), **environ}
    argv = (sys.executable, "-m", "console.demo")
    return subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False)


def test_a_store_that_cannot_start_ends_the_demo_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state/instance").write_text("enclii-test-demo")
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        port = somebody.getsockname()[1]
        (tmp_path / "state/ports.toml").write_text(ports.render({"registry": port}))
        done = demo(tmp_path)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"demo: port {port} is in use")


def test_a_wrong_setting_ends_the_demo_with_its_name(tmp_path: Path) -> None:
    done = demo(tmp_path, ENCLII_DRAIN="soon")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("demo: ENCLII_DRAIN")


@pytest.mark.parametrize("trouble", [ConnectionRefusedError("nobody there"), KeyError("current_deployment"), None])
def test_what_never_holds_is_told_and_not_ticked(trouble: Exception | None, capsys: pytest.CaptureFixture[str]) -> None:
    def question() -> bool:
        if trouble:
            raise trouble
        return False

    with pytest.raises(Unavailable, match="v1 runs: not seen within") as never:
        seen("v1 runs", question, limit=0.2)

    assert never.value.reason == "not_seen"
    assert "✓" not in capsys.readouterr().out


def test_what_holds_later_is_ticked_once(capsys: pytest.CaptureFixture[str]) -> None:
    answers = iter((0, 0, "yes"))

    assert seen("v1 runs", lambda: next(answers)) == "yes"

    assert capsys.readouterr().out.count("✓ v1 runs") == 1
