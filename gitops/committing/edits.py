"""Commits of the config repository as values: what is to be written, and what was read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gitops.trailers import one_line

COMMITTER = ("Enclii", "enclii@localhost")
AUTHOR_DOMAIN = "users.enclii.invalid"


Change = Callable[[bytes | None], bytes]
"""From a file's bytes, None when it is not there, to its new ones; raises Refused or Invalid."""


@dataclass(frozen=True)
class Edit:
    """What one commit does to one directory or file.

    The directory ``path``, "" for the root, becomes ``base`` (a tree id; None: as it is now) with ``write`` added,
    ``remove`` gone and the files in ``change`` changed from what they are when the commit is written.
    """

    path: str
    base: str | None = None
    write: Mapping[str, bytes] = field(default_factory=dict)
    change: Mapping[str, Change] = field(default_factory=dict)
    remove: frozenset[str] = frozenset()
    delete: bool = False


@dataclass(frozen=True)
class Draft:
    """A commit to be written."""

    edit: Edit
    message: str
    author: str
    at: str  # RFC 3339
    others: tuple[Edit, ...] = ()
    """What the same commit does to further directories."""


@dataclass(frozen=True)
class Commit:
    """A commit as read; ``trailers`` is empty unless Enclii wrote it."""

    id: str
    parents: tuple[str, ...]
    author: str
    subject: str
    at: str
    trailers: Mapping[str, str]

    @property
    def ours(self) -> bool:
        return bool(self.trailers)


def author(name: str) -> tuple[str, str]:
    """Name and address of whoever pushed or commanded, in characters that git and mail headers take."""
    plain = one_line(name, 100).translate({ord("<"): None, ord(">"): None}).strip(" .,:;\"'") or COMMITTER[0]
    local = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in plain.lower()).strip("-.") or "x"
    return plain, f"{local}@{AUTHOR_DOMAIN}"
