"""Three NATS servers: with one killed work goes on, with two nothing is accepted, and nothing is lost or done twice."""

from __future__ import annotations

import hashlib
import hmac
import json
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

from pipeline.hooks import app_hook, hook_secret
from tests.acceptance.test_leases import _commits, _live
from tests.support.components import needs
from tests.support.line import Line, commit, eventually, git, opened, sample
from tests.support.nats_cluster import running_nats_cluster
from tests.support.registry import running_registry


def test_one_of_three_servers_may_die_and_two_make_everybody_wait(tmp_path: Path) -> None:
    needs("podman", "buildah", "docker-registry", "nats-server", "git", "syft")
    with running_nats_cluster(tmp_path / "nats") as nats, running_registry(tmp_path / "registry") as registry:
        line = Line(tmp_path / "home", nats.url, registry, nats.settings)
        line.home.mkdir()
        try:
            line.start()
            eventually(line.listens, what="all processes listen")
            sample(tmp_path / "shop", "page 1\n")
            git("push", line.url("shop/shop"), "main", cwd=tmp_path / "shop")
            eventually(lambda: _live(line) == "v1", what="v1 runs", limit=90)
            assert _hook(line)[0] == 202

            first = nats.leader("PIPE")
            nats.kill(first)
            _pushed(line, tmp_path / "shop", 2)
            eventually(lambda: _live(line) == "v2", what="v2 runs without the leader of before", limit=90)

            second = nats.leader("PIPE")
            nats.kill(second)
            status, wait = eventually(lambda: _refused(line), what="the receiver takes nothing")
            assert (status, int(wait) > 0) == (503, True)
            assert line.page("web.shop.localhost") == "page 2\n"

            nats.start(first, second)
            eventually(lambda: _hook(line)[0] == 202, what="the receiver takes deliveries again")
            _pushed(line, tmp_path / "shop", 3)
            eventually(lambda: _live(line) == "v3", what="v3 runs", limit=90)
            deployed = [one for one in _commits(line, tmp_path / "all") if one.startswith("Deploy")]
            assert len(deployed) == len(set(deployed)) == 3
        finally:
            line.end()


_number = iter(range(1_000))


def _pushed(line: Line, folder: Path, number: int) -> None:
    """As a person does who is told that nothing was accepted while the servers choose a leader: again."""
    (folder / "index.html").write_text(f"page {number}\n")
    commit(folder, f"Page {number}")
    argv = ("git", "push", line.url("shop/shop"), "main")

    def accepted() -> bool:
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0 or "nothing was accepted" in done.stderr, done.stderr
        return done.returncode == 0

    eventually(accepted, what="the push is accepted")


def _refused(line: Line) -> tuple[int, str] | None:
    status, wait = _hook(line)
    return (status, wait) if status != 202 else None


def _hook(line: Line) -> tuple[int, str]:
    """A ping of GitHub's, signed: the status, and how long to wait."""
    hook, body = app_hook("root-secret"), json.dumps({"zen": "Anything added dilutes everything else."}).encode()
    mac = hmac.new(hook_secret("root-secret", hook).encode(), body, hashlib.sha256).hexdigest()
    headers = {
        "X-Hub-Signature-256": f"sha256={mac}", "X-GitHub-Event": "installation", "Content-Type": "application/json",
        "X-GitHub-Delivery": f"00000000-0000-0000-0000-{next(_number):012d}",
    }  # fmt: skip
    url = f"http://127.0.0.1:{line.ports['receiver']}/hooks/github/{hook}"
    request = urllib.request.Request(url, data=body, headers=headers)
    try:
        with opened(request) as answer:
            return answer.status, ""
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get("Retry-After", "0")
