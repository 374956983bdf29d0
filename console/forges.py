"""Repositories as people link them: what an address names, which addresses are taken, and what a forge is to be told.

A hook's name is made here and cannot be chosen; its secret follows from it, and only a holder of the API's token sees
it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, urlsplit

from pipeline import hooks, names
from pipeline.errors import Invalid, NotFound

GITHUB: Final = "github.com"
HOSTS: Final = {
    GITHUB: "github", "gitlab.com": "gitlab", "codeberg.org": "forgejo", "gitea.com": "gitea",
    "bitbucket.org": "bitbucket",
}  # fmt: skip
EVENTS: Final = {
    "github": "push, pull_request, issue_comment, check_run, deployment, delete, repository",
    "gitlab": "push, tag push, merge request, comments",
    "gitea": "push, delete, pull request, pull request synchronized, issue comment, pull request comment",
    "forgejo": "push, delete, pull request, pull request synchronized, issue comment, pull request comment",
    "bitbucket": "repository push; pull request created, updated, merged, declined, comment created",
}
"""What each forge is to tell, in its own words; a forge that tells pushes alone gets no previews."""
KINDS: Final = (*EVENTS, "local")
_SHORT: Final = re.compile(r"(?P<user>[a-z_][a-z0-9_-]*)@(?P<host>[A-Za-z0-9.-]+):(?P<path>[^/:].*)")
_LOCATION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,99}/[A-Za-z0-9._-]{1,100}")
_CREDENTIAL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Address:
    """A repository's address, and the ``owner/name`` in it."""

    url: str
    host: str
    location: str

    @property
    def name(self) -> str:
        """The last part, as Enclii names things."""
        return self.location.rpartition("/")[2].lower()

    def identity(self, forge: str) -> str:
        """The id under which the repository is registered; GitHub tells no upper from lower case."""
        return f"{forge}:{self.location.lower() if forge == 'github' else self.location}"


def address(text: str) -> Address:
    """Read an address in any of git's forms, without following it anywhere. Raises Invalid."""
    short = _SHORT.fullmatch(text)
    url = f"ssh://{short['user']}@{short['host']}/{short['path']}" if short else text
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        parts.port  # noqa: B018 - a port that is none raises here
    except ValueError:
        raise _bad("not an address") from None
    if not url.isascii() or not url.isprintable() or parts.scheme not in {"https", "http", "ssh"} or not host:
        raise _bad("https://… or ssh://git@…")
    if parts.password is not None or (parts.username and parts.scheme != "ssh"):
        raise _bad("without a password or token in it; --credential names the file of one")
    if parts.query or parts.fragment or host.startswith("-"):
        raise _bad("the repository's own address, nothing behind it")
    location = parts.path.strip("/").removesuffix(".git")
    if not _LOCATION.fullmatch(location) or location.rpartition("/")[2] in {".", ".."}:
        raise _bad("it ends in OWNER/NAME")
    return Address(url, host.lower(), location)


@dataclass(frozen=True)
class Forges:
    """Where Enclii's own git host is, where webhooks arrive, and the roots of their secrets, newest first."""

    githost_url: str
    receiver_url: str
    roots: tuple[str, ...] = field(repr=False)

    def check(self, *, forge: str, url: str, repository: str, branches: Mapping[str, str], credential: str) -> None:
        """Refuse what cannot be fetched safely. Raises Invalid, which names the field."""
        found = address(url)
        if forge not in KINDS:
            raise Invalid(f"forge: {', '.join(KINDS)}", reason="unknown_forge")
        if forge == "local" and not url.startswith(self.githost_url.rstrip("/") + "/"):
            text = f"url: neither on {GITHUB} nor on this Enclii's git host {self.githost_url}"
            raise Invalid(f"{text}; for another server that speaks as GitHub does: --forge github", reason="bad_url")
        if forge != "local":
            _check_transport(urlsplit(url))
        if repository != found.identity(forge):
            raise Invalid(f"repository: {found.identity(forge)} is what the address names", reason="bad_field")
        for branch in branches.values():
            names.ref(names.BRANCH_PREFIX + branch)
        if credential and (forge == "local" or not _CREDENTIAL.fullmatch(credential)):
            raise Invalid("credential: the name of a file, for a repository that is not ours", reason="bad_field")

    def new_hook(self, command: str) -> str:
        """A hook that nobody can guess; the same command, sent again, has the same."""
        return hooks.new_hook(self.roots[0], command)

    def webhook(self, hook: str, forge: str = "github") -> dict[str, str]:
        """What the forge asks for. Raises NotFound when the repository has no hook."""
        if not hook:
            raise NotFound("no webhook was made for that repository: enclii link URL", reason="no_webhook")
        return {
            "payload_url": f"{self.receiver_url.rstrip('/')}/hooks/{forge}/{hook}",
            "content_type": "application/json",
            "secret": hooks.hook_secret(self.roots[0], hook),
            "events": EVENTS.get(forge, "push"),
        }


def _check_transport(parts: SplitResult) -> None:
    """Plain HTTP would show the sources and the token to everybody between; on this machine there is nobody."""
    if parts.scheme != "http":
        return
    try:
        on_this_machine = ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        on_this_machine = parts.hostname == "localhost"
    if not on_this_machine:
        raise _bad("https:// or ssh://; plain http:// only on this machine")


def _bad(what: str) -> Invalid:
    return Invalid(f"url: {what}", reason="bad_url")
