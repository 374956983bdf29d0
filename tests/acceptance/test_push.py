"""The main story: a push becomes a signed, running release; a second push replaces it; a rollback brings it back."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from tests.support.components import needs
from tests.support.line import Line, commit, eventually, git, running_line, sample


def live(line: Line) -> dict[str, object]:
    services = line.api("/v1/projects/shop/services?environment=production&include_status=true")["services"]
    return dict(services[0]["current_deployment"] or {}) if services else {}


def runs(line: Line, version: str) -> bool:
    now = live(line)
    return now.get("version") == version and now.get("status") == "running"


def test_a_push_runs_a_second_replaces_it_and_a_rollback_brings_it_back(tmp_path: Path) -> None:
    subprocess.run([needs("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    with running_line(tmp_path / "home", {"CONFIG_SIGNING_KEY": str(tmp_path / "key")}) as line:
        sample(tmp_path / "shop", "one\n")
        said = git("push", line.url("shop/shop"), "main", cwd=tmp_path / "shop")
        assert "run r-" in said
        eventually(lambda: runs(line, "v1"), what="v1 runs")
        assert line.page("web.shop.localhost") == "one\n"
        run, sha = re.findall("run (r-[a-z0-9]+)", said)[0], git("rev-parse", "HEAD", cwd=tmp_path / "shop")[:12]
        for process in ("githost", "planner", "builder", "signer", "committer", "syncer"):
            eventually(lambda p=process: (run, sha) in _bound(line, p), what=f"{process} logs the run and its commit")

        (tmp_path / "shop/index.html").write_text("two\n")
        commit(tmp_path / "shop", "The second page")
        git("push", line.url("shop/shop"), "main", cwd=tmp_path / "shop")
        eventually(lambda: runs(line, "v2"), what="v2 runs")
        assert line.page("web.shop.localhost") == "two\n"

        first = line.api("/v1/releases/shop.web.v1/deployments")["deployments"]
        assert [one["status"] for one in first] == ["replaced"]

        judged = line.api("/v1/verify?release=shop.web.v1")
        assert judged["passed"], judged
        line.api("/v1/rollbacks", {"project": "shop", "environment": "production", "service": "web"})
        eventually(lambda: runs(line, "v1"), what="v1 runs again")
        assert line.page("web.shop.localhost") == "one\n"

        git("clone", "-q", line.url("enclii/config"), "config", cwd=tmp_path)
        subjects = git("log", "--format=%s", cwd=tmp_path / "config")
        assert subjects.splitlines()[0].startswith("Revert shop/web")

        (tmp_path / "signers").write_text("enclii@localhost " + (tmp_path / "key.pub").read_text())
        judge = ("-c", f"gpg.ssh.allowedSignersFile={tmp_path / 'signers'}")
        assert set(git(*judge, "log", "--format=%G?", cwd=tmp_path / "config").split()) == {"G"}

        _rename(tmp_path / "shop", "site")
        git("push", line.url("shop/shop"), "main", cwd=tmp_path / "shop")
        eventually(lambda: _states(line) == {"site": "running", "web": "orphaned"}, what="web is an orphan and runs")
        assert line.page("web.shop.localhost") == "one\n"
        line.api("/v1/destroys", {"project": "shop", "environment": "production", "service": "web"})
        eventually(lambda: _states(line) == {"site": "running", "web": ""}, what="web is gone")
        git("revert", "--no-edit", "HEAD", cwd=tmp_path / "shop")
        git("push", line.url("shop/shop"), "main", cwd=tmp_path / "shop")
        eventually(lambda: _states(line) == {"site": "orphaned", "web": "running"}, what="web is back")


def _bound(line: Line, process: str) -> set[tuple[str, str]]:
    """The runs and commits on the lines of a process's log."""
    lines = [json.loads(text) for text in line.log(process).splitlines() if text.endswith("}")]
    return {(one.get("run", ""), one.get("commit", "")) for one in lines}


def _rename(folder: Path, name: str) -> None:
    declared = folder / "enclii.yaml"
    declared.write_text(declared.read_text().replace("web:", f"{name}:"))
    commit(folder, "Another name")


def _states(line: Line) -> dict[str, str]:
    services = line.api("/v1/projects/shop/services?environment=production&include_status=true")["services"]
    return {one["name"]: str((one["current_deployment"] or {}).get("status", "")) for one in services}
