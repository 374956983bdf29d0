"""Two committers and two syncers: one of each works, the other takes over, and one that was paused writes nothing."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.support.line import Line, commit, eventually, git, running_line, sample

LEASE = {"LEASE": "2s"}


def test_whoever_wakes_up_after_another_took_over_writes_nothing_and_ends(tmp_path: Path) -> None:
    with running_line(tmp_path / "home", LEASE) as line:
        sample(tmp_path / "shop", "page one\n")
        git("push", line.url("shop/shop"), "main", cwd=tmp_path / "shop")
        eventually(lambda: _live(line) == "v1", what="v1 runs")

        for number, name in enumerate(("committer", "syncer"), 2):
            mark = tmp_path / f"{name}-stopped"
            line.kill(name)
            line.start_as(name, "tests.support.pausing", name, str(mark))
            eventually(lambda n=name: "leading as lease." in line.log(n).splitlines()[-1], what=f"{name} leads")
            mark.with_suffix(".armed").touch()
            second = line.start_beside(name)

            _push(line, tmp_path / "shop", number)
            eventually(mark.exists, what=f"{name} has its work in hand and is stopped")
            eventually(lambda n=number: _live(line) == f"v{n}", what=f"{second} took over", limit=90)
            before = _commits(line, tmp_path / f"before-{name}")

            line.signal(name, signal.SIGCONT)
            eventually(lambda n=name: line.ended(n) == 1, what=f"{name} found its lease over and ended")
            assert "lease" in line.log(name).splitlines()[-1]
            assert _commits(line, tmp_path / f"after-{name}") == before
            assert (_live(line), line.page("web.shop.localhost")) == (f"v{number}", f"page {number}\n")

        line.kill("committer-2")
        line.start("committer")
        _push(line, tmp_path / "shop", 4)
        eventually(lambda: _live(line) == "v4", what="the next deployment after a leader was killed")
        deployed = [one for one in _commits(line, tmp_path / "all") if one.startswith("Deploy")]
        assert len(deployed) == len(set(deployed)) == 4


def _push(line: Line, folder: Path, number: int) -> None:
    (folder / "index.html").write_text(f"page {number}\n")
    commit(folder, f"Page {number}")
    git("push", line.url("shop/shop"), "main", cwd=folder)


def _live(line: Line) -> str:
    services = line.api("/v1/projects/shop/services?environment=production&include_status=true")["services"]
    now = (services[0]["current_deployment"] or {}) if services else {}
    return str(now.get("version")) if now.get("status") == "running" else ""


def _commits(line: Line, folder: Path) -> list[str]:
    git("clone", "-q", line.url("enclii/config"), str(folder), cwd=folder.parent)
    return git("log", "--format=%s", cwd=folder).splitlines()
