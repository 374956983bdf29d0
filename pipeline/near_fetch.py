"""Fetching a small step from Enclii's own git host inside this process: the git program starts eight others for it.

Only for what is new since a fetch before, so that nothing here takes long; the host has checked each object when it
was pushed. Whatever does not go as it mostly does is left to the git program, which can also say what is wrong.
"""

from __future__ import annotations

import logging
from pathlib import Path

import pygit2

CONNECT_LIMIT_MS = 5_000
ANSWER_LIMIT_MS = 20_000
MANY = 64
"""Each fetch leaves a pack, and every lookup asks each of them."""

log = logging.getLogger(__name__)


class _Login(pygit2.RemoteCallbacks):
    """Says who asks before it is asked: one answer less to wait for."""

    def __init__(self, basic: str) -> None:
        super().__init__()
        self._basic = basic

    def custom_headers(self) -> list[str]:
        return [f"Authorization: Basic {self._basic}"]


def fetched(path: Path, url: str, *, basic: str, wanted: str, into: str, kept: str) -> str | None:
    """Have what ``wanted`` (a full ref, or the commit that a branch is) is now in the mirror at ``path``; its id.

    The ref ``into`` is moved to it; ``kept`` with the id behind it is the ref by which a mirror knows that it has a
    commit whole. None when it is for the git program: the mirror is empty, or anything went wrong. Blocking.
    """
    pygit2.settings.server_connect_timeout = CONNECT_LIMIT_MS
    pygit2.settings.server_timeout = ANSWER_LIMIT_MS
    try:
        repository = pygit2.Repository(str(path), pygit2.enums.RepositoryOpenFlag.NO_SEARCH)
        if not (path / kept).is_dir():
            return None
        return _fetched(repository, url, _Login(basic), wanted, into, kept)
    except (pygit2.GitError, OSError, KeyError, ValueError) as error:
        log.info("%s is fetched by the git program: %s", url, error)
        return None


def _fetched(repository: pygit2.Repository, url: str, login: _Login, wanted: str, into: str, kept: str) -> str | None:
    remote = repository.remotes.create_anonymous(url)
    told = {str(head.name): str(head.oid) for head in remote.list_heads(callbacks=login)}
    heads = {name: oid for name, oid in told.items() if name.startswith("refs/heads/")}
    ref = wanted if wanted in heads else next((name for name, oid in heads.items() if oid == wanted), "")
    if not ref:
        return None
    found = heads[ref]
    if f"{kept}{found}" in repository.references:
        return found
    if found in repository:  # a git that was killed may have left a part of it
        return None
    remote.fetch([f"+{ref}:{into}"], callbacks=login)
    if not isinstance(repository.get(found), pygit2.Commit):
        return None
    repository.references.create(f"{kept}{found}", found, force=True)
    return found


def packs(path: Path) -> int:
    """How many packs the mirror has."""
    return sum(1 for _ in (path / "objects" / "pack").glob("*.pack"))
