"""The mirrors of one process by repository, each opened with the credential that the registration names.

A credential lies in a folder that bears the name of its host, ``credentials/<host>[:<port>]/<name>``, so no address
that somebody links can make it travel to another host. It is read anew each time: a replaced token works at once.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pipeline.errors import Refused
from pipeline.names import token
from pipeline.private import open_to_others
from pipeline.records import Repository
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.mirror import Mirror

CREDENTIAL_LIMIT = 64 << 10


@dataclass(frozen=True)
class Access:
    """What opens a repository: nothing, a token, or the file of a deploy key."""

    token: str | None = None
    ssh_key: Path | None = None

    def __repr__(self) -> str:
        return f"Access({'token' if self.token else 'ssh_key' if self.ssh_key else ''})"


class Mirrors:
    """Mirrors below ``home``; the same address is always the same mirror."""

    def __init__(self, settings: Settings, home: Path) -> None:
        self._settings = settings
        self._home = home
        self._mirrors: dict[tuple[str, str], Mirror] = {}

    async def of(self, repository: Repository) -> Mirror:
        """The repository's mirror. Raises Refused when its credential is missing, unsafe or does not fit."""
        from pipeline.mirror import Mirror  # libgit2 takes ten megabytes: from the first repository on

        access = await asyncio.to_thread(access_to, repository, self._settings)
        key = (repository.id, self._address(repository))
        if key not in self._mirrors:
            self._mirrors[key] = Mirror(self._home / token(*key), key[1], near=repository.forge == "local")
        self._mirrors[key].open_with(token=access.token, ssh_key=access.ssh_key)
        return self._mirrors[key]

    def _address(self, repository: Repository) -> str:
        """As registered; Enclii's own git host is where it is now, and nobody else gets its token."""
        if repository.forge != "local":
            return repository.url
        return f"{self._settings.githost_url.rstrip('/')}/{repository.id.removeprefix('local:')}.git"


def access_to(repository: Repository, settings: Settings) -> Access:
    """What opens ``repository``: the read token of Enclii's own git host, or the credential that was linked."""
    if repository.forge == "local":
        return Access(token=settings.git_read_token.reveal())
    if not repository.credential:
        return Access()
    return _read(settings.below_home(settings.credentials), repository)


def _read(folder: Path, repository: Repository) -> Access:
    address = urlsplit(repository.url)
    host = address.netloc.rpartition("@")[2].lower()
    file = folder / Path(host).name / Path(repository.credential).name
    shown = f"credential {host}/{file.name}"
    try:
        content = file.read_bytes()[:CREDENTIAL_LIMIT].decode("ascii", "replace").strip()
        status = file.stat()
    except OSError as error:
        raise Refused(f"{shown} cannot be read: {error.strerror}", reason="credential_missing") from None
    if open_to_others(status):
        raise Refused(f"{shown} can be read by others: chmod 600", reason="credential_open")
    if content.startswith("-----BEGIN ") != (address.scheme == "ssh"):
        raise Refused(f"{shown}: a deploy key opens ssh:// only, a token https:// only", reason="credential_unfit")
    if address.scheme == "ssh":
        return Access(ssh_key=file.absolute())
    if not content or not content.isprintable() or " " in content:
        raise Refused(f"{shown} is not a token on one line", reason="credential_unfit")
    return Access(token=content)
