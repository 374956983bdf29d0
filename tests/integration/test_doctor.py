"""What doctor finds, with the real stores: each finding says how to mend it, and an error is an exit code."""

from __future__ import annotations

import asyncio
import http.server
import json
import os
import threading
from pathlib import Path

import pytest

from console import checks, cli, doctor, ports
from pipeline.registry import Registry
from pipeline.settings import MAY_LOSE
from tests.support.nats import monitor_of, running_nats
from tests.support.registry import running_registry

NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The state folder of an installation that is down."""
    folder = tmp_path / "state"
    (folder / "secrets").mkdir(parents=True)
    (folder / "instance").write_text("e-test-doctor\n")
    (folder / "ports.toml").write_text(ports.render(dict.fromkeys(ports.PREFERRED, 9)))
    (folder / "secrets" / "api-token").write_text("token")
    (folder / "secrets" / "api-token").chmod(0o600)
    return folder


def test_a_nats_that_syncs_late_is_an_error_with_its_fix(tmp_path: Path) -> None:
    with running_nats(tmp_path, sync="1s") as nats:
        [found] = asyncio.run(checks.check_nats(monitor_of(nats), "fsync"))
        [allowed] = asyncio.run(checks.check_nats(monitor_of(nats), MAY_LOSE))

    assert (found.level, allowed.level) == ("error", "warning")
    assert "sync_interval: always" in found.fix


def test_a_registry_is_tried_with_a_push_and_a_pull(tmp_path: Path) -> None:
    with running_registry(tmp_path) as registry:
        found = asyncio.run(checks.check_registry(Registry(registry, plain_http=True)))

    assert [one.level for one in found] == ["ok", "ok"]
    assert "gives it back" in found[0].message
    assert "fallback tag" in found[1].message


def test_stores_that_do_not_answer_are_errors_with_their_fix() -> None:
    found = asyncio.run(
        checks.stores(
            monitors=NOBODY, durable="fsync", registry=Registry("127.0.0.1:9", plain_http=True), githost=NOBODY
        )
    )

    assert {one.subject: one.level for one in found} == {"NATS": "error", "registry": "error", "git host": "error"}
    assert all(one.fix for one in found)


def test_a_key_that_others_can_read_is_an_error_with_its_fix(home: Path) -> None:
    token = home / "secrets" / "api-token"
    assert [one.level for one in doctor.check_keys(home)] == ["ok"]
    token.chmod(0o644)

    [found] = doctor.check_keys(home)

    assert (found.level, found.fix) == ("error", f"chmod 600 {token}")


def test_an_old_program_is_an_error(tmp_path: Path) -> None:
    old = tmp_path / "nats-server"
    old.write_text("#!/bin/sh\necho nats-server: v2.9.1\n")
    old.chmod(0o755)

    found = asyncio.run(doctor.check_program("nats-server", places=str(tmp_path)))

    assert (found.level, found.message) == ("error", "2.9.1; 2.12 or newer is needed")


def test_a_program_that_is_missing_names_its_package(tmp_path: Path) -> None:
    found = asyncio.run(doctor.check_program("podman", places=str(tmp_path)))

    assert (found.level, found.fix) == ("error", "apt-get install podman")


def test_where_nothing_runs_doctor_says_so_and_how_to_start_it_alone(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    env = {"ENCLII_HOME": str(home), "PATH": os.environ["PATH"]}

    code = cli.run(["doctor", "-o", "json"], env, home.parent)

    found = {one["subject"]: one for one in json.loads(capsys.readouterr().out)["checks"]}
    assert code == 1
    assert found["API"]["message"].startswith("nothing of Enclii runs here")
    wrong = {name: one["fix"] for name, one in found.items() if one["level"] == "error"}
    assert {name: wrong.get(name) for name in ("API", "processes")} == dict.fromkeys(
        ("API", "processes"), "enclii up -d"
    )
    assert not {"NATS", "registry", "git host"} & set(found)
    assert found["keys"]["level"] == "ok"


def test_beside_a_process_that_is_up_doctor_tells_of_each_store(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), Ready) as one:
        serving = threading.Thread(target=one.serve_forever, args=(0.01,))
        serving.start()
        taken = dict.fromkeys(ports.PREFERRED, 9) | {"planner_ops": one.server_address[1]}
        (home / "ports.toml").write_text(ports.render(taken))
        env = {"ENCLII_HOME": str(home), "PATH": os.environ["PATH"]}
        code = cli.run(["doctor", "-o", "json"], env, home.parent)
        one.shutdown()
        serving.join()

    found = {one["subject"]: one for one in json.loads(capsys.readouterr().out)["checks"]}
    assert code == 1
    assert {found[name]["level"] for name in ("API", "NATS", "registry", "git host", "console")} == {"error"}
    assert "planner" not in found


class Ready(http.server.BaseHTTPRequestHandler):
    """A process that says that it is ready."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""
