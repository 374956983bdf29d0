"""The main story: a push becomes a signed, running release; a second push replaces it; a rollback brings it back.

Somebody asks for the page meanwhile, every process says that it is well, and at the end each ends in order.
"""

from __future__ import annotations

import json
import re
import subprocess
import urllib.error
from pathlib import Path

from tests.bench.requests import loaded
from tests.support.components import needs
from tests.support.line import COMMANDS, Line, commit, eventually, git, running_line, sample

RATE, PATIENCE = 100, 60.0
"""Requests a second, and seconds for an answer: what is slow on a busy machine has not failed."""


def live(line: Line) -> dict[str, object]:
    services = line.api("/v1/projects/shop/services?environment=production&include_status=true")["services"]
    return dict(services[0]["current_deployment"] or {}) if services else {}


def runs(line: Line, version: str) -> bool:
    now = live(line)
    return now.get("version") == version and now.get("status") == "running"


def test_a_push_runs_a_second_replaces_it_and_a_rollback_brings_it_back(tmp_path: Path) -> None:
    subprocess.run([needs("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    with running_line(tmp_path / "home", {"CONFIG_SIGNING_KEY": str(tmp_path / "key")}) as line:
        sample(tmp_path / "shop", "page one\n")
        said = git("push", line.url("shop/shop"), "main", cwd=tmp_path / "shop")
        assert "run r-" in said
        eventually(lambda: runs(line, "v1"), what="v1 runs")
        assert line.page("web.shop.localhost") == "page one\n"
        run, sha = re.findall("run (r-[a-z0-9]+)", said)[0], git("rev-parse", "HEAD", cwd=tmp_path / "shop")[:12]
        for process in ("githost", "planner", "builder", "signer", "committer", "syncer"):
            eventually(lambda p=process: (run, sha) in _bound(line, p), what=f"{process} logs the run and its commit")

        every_process_is_well(line)

        with loaded(line.ports["door"], rate=RATE, limit=PATIENCE) as load:
            (tmp_path / "shop/index.html").write_text("page two\n")
            commit(tmp_path / "shop", "The second page")
            git("push", line.url("shop/shop"), "main", cwd=tmp_path / "shop")
            eventually(lambda: runs(line, "v2"), what="v2 runs")
            assert line.page("web.shop.localhost") == "page two\n"

            first = line.api("/v1/releases/shop.web.v1/deployments")["deployments"]
            assert [one["status"] for one in first] == ["replaced"]

            judged = line.api("/v1/verify?release=shop.web.v1")
            assert judged["passed"], judged
            line.api("/v1/rollbacks", {"project": "shop", "environment": "production", "service": "web"})
            eventually(lambda: runs(line, "v1"), what="v1 runs again")
            assert line.page("web.shop.localhost") == "page one\n"
        assert (dict(load.failures), load.sent > RATE) == ({}, True)

        git("clone", "-q", line.url("enclii/config"), "config", cwd=tmp_path)
        subjects = git("log", "--format=%s", cwd=tmp_path / "config")
        assert subjects.splitlines()[0].startswith("Revert shop/web")

        (tmp_path / "signers").write_text("enclii@localhost " + (tmp_path / "key.pub").read_text())
        judge = ("-c", f"gpg.ssh.allowedSignersFile={tmp_path / 'signers'}")
        assert set(git(*judge, "log", "--format=%G?", cwd=tmp_path / "config").split()) == {"G"}

        _rename(tmp_path / "shop", "site")
        git("push", line.url("shop/shop"), "main", cwd=tmp_path / "shop")
        eventually(lambda: _states(line) == {"site": "running", "web": "orphaned"}, what="web is an orphan and runs")
        assert line.page("web.shop.localhost") == "page one\n"
        line.api("/v1/destroys", {"project": "shop", "environment": "production", "service": "web"})
        eventually(lambda: _states(line) == {"site": "running", "web": ""}, what="web is gone")
        eventually(lambda: _answer(line, "web.shop.localhost") == 404, what="nobody answers to its name")
        git("revert", "--no-edit", "HEAD", cwd=tmp_path / "shop")
        git("push", line.url("shop/shop"), "main", cwd=tmp_path / "shop")
        eventually(lambda: _states(line) == {"site": "orphaned", "web": "running"}, what="web is back")
    assert {name: line.ended(name) for name in COMMANDS} == dict.fromkeys(COMMANDS, 0)


def every_process_is_well(line: Line) -> None:
    """Each has its own loopback port, which says that it lives, that it is ready, and what it measured."""
    for name in COMMANDS:
        assert line.ops(name, "/healthz")[0] == 200, name
        eventually(lambda name=name: line.ops(name, "/readyz") == (200, '{"failing": {}}\n'), what=f"{name} is ready")
        status, figures = line.ops(name, "/metrics")
        assert (status, 'enclii_ready{check="nats"} 1' in figures) == (200, True), name


def _bound(line: Line, process: str) -> set[tuple[str, str]]:
    """The runs and commits on the lines of a process's log."""
    lines = [json.loads(text) for text in line.log(process).splitlines() if text.endswith("}")]
    return {(one.get("run", ""), one.get("commit", "")) for one in lines}


def _answer(line: Line, host: str) -> int:
    try:
        line.page(host)
    except urllib.error.HTTPError as error:
        return error.code
    return 200


def _rename(folder: Path, name: str) -> None:
    declared = folder / "enclii.yaml"
    declared.write_text(declared.read_text().replace("web:", f"{name}:"))
    commit(folder, "Another name")


def _states(line: Line) -> dict[str, str]:
    services = line.api("/v1/projects/shop/services?environment=production&include_status=true")["services"]
    return {one["name"]: str((one["current_deployment"] or {}).get("status", "")) for one in services}
