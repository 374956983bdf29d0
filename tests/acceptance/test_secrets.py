"""Secrets from a pipe to a running container and back by a rollback, and nowhere else; scale and restart as commits."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.line import API, Line, commit, eventually, git, run_enclii, running_line, sample

FIRST, SECOND = "first-hunter2-value", "second-hunter2-value"
SHOW = "#!/bin/busybox sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n%s\\n' \"$TOKEN $LEVEL\"\n"


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    with running_line(tmp_path_factory.mktemp("line") / "home") as running:
        yield running


@dataclass(frozen=True)
class Shop:
    """One project whose service shows the variables that it has."""

    line: Line
    project: str
    folder: Path

    def push(self, spec: str, message: str = "Change the service") -> str:
        (self.folder / "enclii.yaml").write_text(f"services:\n  web:\n    port: 8080\n{spec}")
        made = commit(self.folder, message)
        git("push", "-q", self.line.url(f"{self.project}/{self.project}"), "main", cwd=self.folder)
        return made

    def enclii(self, *words: str, stdin: str = "", code: int = 0) -> str:
        place = ("-p", self.project, "-e", "production", "-s", "web")
        done = run_enclii(self.line, API, *words, *place, stdin=stdin)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def shows(self, text: str) -> None:
        host = f"web.{self.project}.localhost"
        eventually(lambda: self.line.page(host, "/cgi-bin/show").strip() == text, what=f"it shows {text!r}")

    def state(self) -> dict[str, Any]:
        return dict(self.line.api(f"/v1/status?project={self.project}")["services"][0])


@pytest.fixture
def shop(line: Line, tmp_path: Path, request: pytest.FixtureRequest) -> Shop:
    project = "p" + request.node.name.removeprefix("test_").replace("_", "")[:20]
    folder = tmp_path / project
    sample(folder, "page\n")
    dockerfile = (folder / "Dockerfile").read_text()
    (folder / "Dockerfile").write_text(dockerfile.replace("USER", "COPY --chmod=755 cgi-bin /www/cgi-bin\nUSER"))
    (folder / "cgi-bin").mkdir()
    (folder / "cgi-bin" / "show").write_text(SHOW)
    (folder / "cgi-bin" / "show").chmod(0o755)
    return Shop(line, project, folder)


def test_a_secret_travels_from_a_pipe_to_the_container_and_is_written_nowhere(shop: Shop) -> None:
    shop.push("    secrets: [TOKEN]\n")
    refused = eventually(lambda: _refusal(shop), what="the release is refused")
    assert f"enclii secret set TOKEN -p {shop.project} -e production -s web" in refused

    shop.enclii("secret", "set", "TOKEN=-", stdin=f"{FIRST}\n")
    shop.shows(FIRST)

    shop.enclii("secret", "set", "TOKEN", stdin=SECOND)
    shop.shows(SECOND)
    listed = shop.enclii("secret", "list")
    assert "v2" in listed
    assert "hunter2" not in listed
    assert _holding(shop.line.home, "hunter2") == []


def test_a_rollback_brings_the_secrets_version_back(shop: Shop) -> None:
    shop.push("    secrets: [TOKEN]\n    env: {LEVEL: one}\n")
    eventually(lambda: _refusal(shop), what="the release is refused")
    shop.enclii("secret", "set", "TOKEN", stdin=FIRST)
    shop.shows(f"{FIRST} one")
    shop.push("    secrets: [TOKEN]\n    env: {LEVEL: two}\n")
    shop.shows(f"{FIRST} two")
    shop.enclii("secret", "set", "TOKEN", stdin=SECOND)
    shop.shows(f"{SECOND} two")

    plan = shop.enclii("rollback", "--plan")
    assert "TOKEN v2 → v1" in plan
    shop.enclii("rollback", "--wait")

    shop.shows(f"{FIRST} one")


def test_a_value_in_the_arguments_is_refused(shop: Shop) -> None:
    said = shop.enclii("secret", "set", f"TOKEN={FIRST}", code=2)

    assert "value_in_arguments" in said
    assert FIRST not in said


def test_a_count_outlives_the_next_release_and_a_rollback(shop: Shop) -> None:
    shop.push("    env: {LEVEL: one}\n")
    shop.shows("one")
    done = run_enclii(shop.line, API, "scale", "web=3", "-p", shop.project, "-e", "production")
    assert done.returncode == 0, done.stderr
    eventually(lambda: shop.state()["live"]["replicas"] == "3/3", what="three replicas run")

    shop.push("    env: {LEVEL: two}\n")
    shop.shows("two")
    assert shop.state()["live"]["replicas"].endswith("/3")
    shop.enclii("rollback", "--wait")
    assert shop.state()["live"]["replicas"].endswith("/3")


def test_a_restart_replaces_every_replica_of_the_same_release(shop: Shop) -> None:
    shop.push("    env: {LEVEL: one}\n")
    shop.shows("one")
    before = eventually(lambda: shop.state()["live"], what="it is live")

    shop.enclii("restart")

    after = eventually(lambda: _other(shop, before["deployment"]), what="another deployment is live")
    assert after["image"] == before["image"]


def _other(shop: Shop, deployment: str) -> dict[str, Any] | None:
    live = shop.state()["live"]
    return dict(live) if live["deployment"] != deployment and live["status"] == "running" else None


def _refusal(shop: Shop) -> str:
    latest = shop.line.api(f"/v1/services/{shop.project}.web/deployments/latest?environment=production")
    return str(latest["message"]) if latest["reason"] == "secret_missing" else ""


def _holding(folder: Path, text: str) -> list[str]:
    """Every file below that has ``text`` in it: streams, records, repositories, logs, blobs."""
    done = subprocess.run(["grep", "-rlaF", text, str(folder)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout.split()
