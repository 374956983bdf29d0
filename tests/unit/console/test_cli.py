"""The program without a server: help, usage, exit codes, and where it looks for the API."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

import pytest

from console import cli
from console.client import parse_events
from console.session import Session, bare
from pipeline import process
from pipeline.servicefile import parse_servicefile


def test_help_names_every_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"], {}, tmp_path) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in cli.COMMANDS)


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_every_command_explains_itself(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([name, "--help"], {}, tmp_path) == 0
    assert "Usage: enclii " + name in capsys.readouterr().out


def test_an_unknown_command_suggests_the_near_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["rolback"], {}, tmp_path) == 2
    assert "did you mean rollback?" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["ps"], ["status"], ["rollback", "--plan"], ["parked"], ["logs"], ["doctor"]])
def test_without_a_server_it_says_how_to_start_one(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(arguments, {}, tmp_path) == 1
    shown = capsys.readouterr()
    assert "next: enclii up -d" in shown.err
    assert shown.out == ""


def test_a_server_that_does_not_answer_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        env = {"ENCLII_SERVER": f"http://127.0.0.1:{taken.getsockname()[1]}", "ENCLII_TOKEN": "t"}
        assert cli.run(["ps"], env, tmp_path) == 1
    assert "reason: api_away" in capsys.readouterr().err


def test_the_server_can_be_named_before_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        assert cli.run(["--no-color", "--server", address, "ps"], {"ENCLII_TOKEN": "t"}, tmp_path) == 1
    assert f"the API at {address} does not answer" in capsys.readouterr().err


def test_no_token_is_exit_four(tmp_path: Path) -> None:
    assert cli.run(["ps"], {"ENCLII_SERVER": "http://127.0.0.1:1"}, tmp_path) == 4


@pytest.mark.parametrize(
    "arguments", [["rollback", "--to", "x41"], ["logs", "--since", "soon"], ["ps", "-o", "xml"], ["parked", "retry"]]
)
def test_a_wrong_argument_is_exit_two(arguments: list[str], tmp_path: Path) -> None:
    assert cli.run(arguments, {}, tmp_path) == 2


def test_the_state_folder_is_found_upward(tmp_path: Path) -> None:
    folder = tmp_path / ".enclii"
    (folder / "secrets").mkdir(parents=True)
    (folder / "addresses.json").write_text(json.dumps({"api": "http://127.0.0.1:9"}))
    (folder / "secrets" / "api-token").write_text("secret\n")
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)

    session = Session({}, below)

    assert session.home == folder
    assert session.api.server == "http://127.0.0.1:9"


def test_events_are_read_line_by_line_and_comments_passed_over() -> None:
    body = [b": ping\r\n", b"\r\n", b"id: 3-1\r\n", b"event: line\r\n", b'data: {"a": 1}\r\n', b"\r\n", b"data: 2\n"]
    found = [(event.kind, event.data, event.id) for event in parse_events(iter(body))]
    assert found == [("line", {"a": 1}, "3-1")]


def test_help_imports_no_server_and_no_heavy_library(tmp_path: Path) -> None:
    code = (
        "import sys; from console import cli; cli.run(['--help'], {}, __import__('pathlib').Path('.'));"
        "print([m for m in ('httpx2', 'rich', 'starlette', 'nats', 'sqlite3', 'asyncio') if m in sys.modules])"
    )
    import asyncio

    done = asyncio.run(process.run((sys.executable, "-c", code), timeout=120, cwd=Path(cli.__file__).parent.parent))

    assert done.stdout.decode().splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "url",
    [
        "https://git.example.org/shop/shop.git",
        "https://deployer@git.example.org/shop/shop",
        "ssh://git@git.example.org/shop/shop.git/",
        "git@git.example.org:shop/shop.git",
    ],
)
def test_a_repository_is_the_same_by_every_form_of_its_address(url: str) -> None:
    assert bare(url) == "git.example.org/shop/shop"


@pytest.mark.parametrize(("shell", "word"), [("bash", "complete -o"), ("zsh", "#compdef"), ("fish", "complete --")])
def test_a_shell_is_told_how_to_complete(
    shell: str, word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["completion", shell], {}, tmp_path) == 0
    assert word in capsys.readouterr().out


def test_init_shows_and_writes_what_it_found_and_overwrites_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".git").mkdir()
    for name, port in (("web", "EXPOSE 8080\n"), ("worker", "")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "Dockerfile").write_text(f"FROM scratch\n{port}")

    asked = cli.run(["init"], {}, tmp_path)
    said = capsys.readouterr()
    written = cli.run(["init", "--yes"], {}, tmp_path / "web")
    text = (tmp_path / "enclii.yaml").read_text()
    again = cli.run(["init", "--yes"], {}, tmp_path)

    assert (asked, written, again) == (2, 0, 6)
    assert "+  web:\n+    path: web\n+    port: 8080\n" in said.err
    found = {one.name: (one.path, one.port) for one in parse_servicefile(text).services}
    assert found == {"web": ("web", 8080), "worker": ("worker", None)}


def test_nothing_to_build_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["init", "--yes"], {}, tmp_path) == 2
    assert "nothing_to_build" in capsys.readouterr().err
