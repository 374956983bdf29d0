"""The credentials of forges: one JSON file each in the state folder, mode 0600, read by the forge's process alone.

``forges/<host>.json`` is ``{"forge": "github", "api": "https://api.github.com", "token": "…"}``, or with ``"app"`` in
place of the token: ``{"id": 1, "slug": "enclii-shop", "key": "-----BEGIN …"}``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import msgspec

from pipeline.errors import Refused
from pipeline.private import open_to_others

Kind = Literal["github", "gitlab", "gitea", "forgejo"]
APIS: Final = {"github.com": "https://api.github.com"}
PATHS: Final = {"github": "/api/v3", "gitlab": "/api/v4", "gitea": "/api/v1", "forgejo": "/api/v1"}
FOLDER: Final = "forges"


class App(msgspec.Struct, frozen=True, kw_only=True):
    """A GitHub App; ``key`` is its private key (PEM)."""

    id: int
    slug: str
    key: str

    def __repr__(self) -> str:
        return f"App({self.slug})"


class Credential(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What opens one forge's API: an App or a token."""

    forge: Kind
    api: str
    token: str = ""
    app: App | None = None

    def __repr__(self) -> str:
        return f"Credential({self.forge} {self.api})"


def api_of(forge: str, host: str) -> str:
    """Where the API of a forge is, by the host that people see."""
    return APIS.get(host) or f"https://{host}{PATHS[forge]}"


def configured(folder: Path) -> dict[str, Path]:
    """Host → the file of its credential; empty when there is none, and then no process is needed."""
    return {file.name.removesuffix(".json"): file for file in sorted(folder.glob("*.json"))}


def read(file: Path) -> Credential:
    """Read one. Raises Refused, which never quotes the file."""
    try:
        if open_to_others(file.stat()):
            raise Refused(f"{file.name} can be read by others: chmod 600", reason="credential_open")
        found = msgspec.json.decode(file.read_bytes(), type=Credential)
    except (OSError, msgspec.MsgspecError) as error:
        raise Refused(f"{file.name} is no credential: {type(error).__name__}", reason="credential_unfit") from None
    if bool(found.token) == (found.app is not None) or (found.app and found.forge != "github"):
        raise Refused(f"{file.name} needs either a token or a GitHub App", reason="credential_unfit")
    return found
