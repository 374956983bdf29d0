"""``enclii github setup``: from one click to a credential that is kept, against the small GitHub's manifest flow."""

from __future__ import annotations

import contextlib
import html
import io
import json
import re
import stat
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from console import cli, installation
from gitops.forge.credentials import read
from pipeline import hooks
from tests.support.free_ports import free_port
from tests.support.github import APP
from tests.support.github_site import github_in_thread
from tests.support.line import eventually


class Command:
    """The program on its way, in a thread."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.port = free_port()
        self.said = io.StringIO()
        self.code = -1
        argv = ("github", "setup", "--port", str(self.port), *words)
        env = {"ENCLII_HOME": str(folder / "home"), "ENCLII_RECEIVER_URL": "https://hooks.example.org"}

        def run() -> None:
            with contextlib.redirect_stdout(self.said), contextlib.redirect_stderr(self.said):
                self.code = cli.run(argv, env, folder)

        self.thread = threading.Thread(target=run)
        self.thread.start()

    def first(self) -> str:
        """The path of the first page, as the terminal tells it."""
        told = re.search(rf"http://127\.0\.0\.1:{self.port}(/\S+)", self.said.getvalue())
        return told[1] if told else ""

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=20) as answer:
            return str(answer.read().decode())


def found(pattern: str, page: str) -> str:
    match = re.search(pattern, page)
    assert match is not None, page
    return html.unescape(match[1])


def test_an_app_is_made_by_one_click_and_its_key_is_its_owners_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    installation.prepare(home, environ={})
    with github_in_thread() as github:
        command = Command(tmp_path, "--api", github.url, "--organization", "acme")
        first = str(eventually(command.first, what="the page's address is told"))
        page = str(eventually(lambda: command.get(first), what="the page is there"))
        manifest = json.loads(found(r'name=manifest value="([^"]*)"', page))
        assert manifest["hook_attributes"]["url"].startswith("https://hooks.example.org/hooks/github/")
        assert manifest["redirect_url"] == f"http://127.0.0.1:{command.port}/back"
        assert manifest["public"] is False
        state = found(r'action="https://github.com/organizations/acme/settings/apps/new\?state=([^"]+)"', page)
        for wrong in ("/back?code=a-code&state=guessed", "/back?code=a-code", "/other", "/"):
            with pytest.raises(urllib.error.HTTPError):
                command.get(wrong)
        command.get(f"/back?code=a-code&state={state}")
        command.thread.join(60)
        assert command.code == 0, command.said.getvalue()

        file = home / "forges/github.com.json"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        app = read(file).app
        assert app is not None
        assert (app.id, app.slug) == (APP["id"], APP["slug"])
        assert app.key not in command.said.getvalue()
        root = installation.token(home, "ENCLII_WEBHOOK_SECRETS")
        assert github.hook["secret"] == hooks.hook_secret(root, hooks.app_hook(root))
        assert github.hook["url"] == manifest["hook_attributes"]["url"]


def test_a_code_that_github_does_not_know_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    installation.prepare(tmp_path / "home", environ={})
    with github_in_thread() as github:
        command = Command(tmp_path, "--api", github.url)
        first = str(eventually(command.first, what="the page's address is told"))
        page = str(eventually(lambda: command.get(first), what="the page is there"))
        state = found(r'\?state=([^"]+)"', page)
        command.get(f"/back?code=spent&state={state}")
        command.thread.join(60)
        assert command.code == 1
        assert "forge_unknown" in command.said.getvalue()
        assert not (tmp_path / "home/forges/github.com.json").exists()
