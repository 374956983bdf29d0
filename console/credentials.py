"""The secrets of one installation: made at its first start, one file each, readable by its owner alone."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from pipeline.rights import USERS

TOKENS: Final = {
    "ENCLII_API_TOKEN": "api-token",
    "ENCLII_GIT_READ_TOKEN": "git-read-token",
    "ENCLII_GIT_DEPLOY_TOKEN": "git-deploy-token",
    "ENCLII_GIT_WRITE_TOKEN": "git-write-token",
    "ENCLII_WEBHOOK_SECRETS": "webhook-secrets",
}
REGISTRY: Final = "registry-http"
_BYTES: Final = 32


def nats(user: str) -> str:
    """The name of the file with a NATS user's password."""
    return f"nats-{user}"


def create(folder: Path) -> None:
    """Make every secret that is not there yet; the others stay as they are."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in (*TOKENS.values(), REGISTRY, *map(nats, USERS)):
        if not (folder / name).is_file():
            write(folder / name, secrets.token_urlsafe(_BYTES) + "\n")


def read(file: Path) -> str:
    """A secret's text."""
    return file.read_text().strip()


def write(file: Path, text: str) -> None:
    """Replace ``file``, whole or not at all, with mode 0600 from its first byte on."""
    draft = file.with_name(f".{file.name}.draft")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(file)
