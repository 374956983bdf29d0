"""Which token a command sends, and where."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from console.client import Failure
from console.session import Session


def session(tmp_path: Path, **env: str) -> Session:
    """A command in a folder whose installation is at port 7080, with its token."""
    home = tmp_path / ".enclii"
    (home / "secrets").mkdir(parents=True)
    (home / "addresses.json").write_text(json.dumps({"api": "http://127.0.0.1:7080"}))
    (home / "secrets" / "api-token").write_text("local-token-of-the-installation\n")
    told = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "ENCLII_KEYRING": "off", **env}
    return Session(told, tmp_path)


@pytest.mark.parametrize("server", ["", "http://127.0.0.1:9000", "http://[::1]:9000", "http://web.localhost:9000"])
def test_the_installations_token_is_sent_on_its_own_machine(tmp_path: Path, server: str) -> None:
    assert session(tmp_path, **({"ENCLII_SERVER": server} if server else {}))._token().startswith("local-")


@pytest.mark.parametrize("server", ["https://enclii.example", "http://127.0.0.1.example:7080", "http://10.0.0.1:7080"])
def test_the_installations_token_is_sent_to_no_other_machine(tmp_path: Path, server: str) -> None:
    with pytest.raises(Failure, match="sent to no other machine"):
        session(tmp_path, ENCLII_SERVER=server)._token()


def test_a_folder_that_came_with_a_clone_sends_no_token_elsewhere(tmp_path: Path) -> None:
    here = session(tmp_path, ENCLII_TOKEN="given")
    (tmp_path / ".enclii" / "addresses.json").write_text(json.dumps({"api": "https://evil.example"}))

    with pytest.raises(Failure, match="names the API"):
        _ = here.server


def test_a_token_that_was_given_goes_where_it_was_told_to(tmp_path: Path) -> None:
    told = session(tmp_path, ENCLII_SERVER="https://enclii.example", ENCLII_TOKEN="given")

    assert told._token() == "given"
