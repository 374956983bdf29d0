"""Each process dies while a preview is on its way up or down; it comes and goes all the same, once, without a trace."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.test_preview import cloned, left, page, previews
from tests.support.line import Line, commit, eventually, git, running_line, sample

DYING = ("planner", "builder", "signer", "committer", "syncer")


def ask(line: Line, verb: str) -> None:
    line.api("/v1/previews", {"project": "shop", "verb": verb, "branch": "new"})


def killed(line: Line, process: str) -> None:
    line.kill(process)
    line.start(process)


def test_a_preview_outlives_the_death_of_each_process_and_leaves_nothing(tmp_path: Path) -> None:
    with running_line(tmp_path / "home") as line:
        folder = tmp_path / "shop"
        sample(folder, "main\n")
        git("push", "-q", line.url("shop/shop"), "main", "main:new", cwd=folder)
        eventually(lambda: line.api("/v1/projects/shop/services")["services"], what="the project is known")
        ask(line, "up")
        eventually(lambda: previews(line) and previews(line)[0]["state"] == "ready", what="it is ready")
        (one,) = previews(line)
        for process in DYING:
            (folder / "index.html").write_text(f"{process}\n")
            commit(folder, process)
            git("push", "-q", line.url("shop/shop"), "main:new", cwd=folder)
            killed(line, process)
            eventually(lambda p=process: page(line, "new-web.preview.localhost") == f"{p}\n", what=f"{process} died")

        ask(line, "down")
        for process in ("planner", "committer", "syncer"):
            killed(line, process)
        eventually(lambda: previews(line) == [], what="it is removed")
        assert left(line, str(one["environment"])) == []
        subjects = git("log", "--format=%s", cwd=cloned(tmp_path, line)).splitlines()
        assert len([text for text in subjects if text.startswith("Deploy shop/web v") and "preview-new" in text]) == 6
        assert len([text for text in subjects if text.startswith("Remove shop/preview-new")]) == 1
