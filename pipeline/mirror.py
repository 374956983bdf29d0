"""The door to source repositories: a bare mirror that fetches from one registered URL only, and reads what it fetched.

Fetching is the git program in a process that can be ended, but for small steps from our own git host (near_fetch.py);
reading is pygit2 and blocks, so callers in an event loop go through ``asyncio.to_thread``. A mirror is disposable, and
belongs to one process at a time.

Redirects are never followed: the credential must not leave the registered host, and a repository that moved is to be
registered again by a person who has seen where it went.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pygit2

from pipeline import names, near_fetch
from pipeline.errors import EncliiError, Invalid, NotFound, Refused, Unavailable
from pipeline.process import CommandFailed, CommandTimeout, orphan_proof, run
from pipeline.source_export import Exported, ExportLimits, export_tree

FETCH_LIMIT = 600.0
ASK_LIMIT = 30.0
READ_LIMIT = 1 << 20
MAX_PATHS = 200_000
KEEP = "refs/enclii/commits/"
HEAD = "refs/enclii/head"
PROTOCOLS = ("https", "http", "ssh", "file")
_SETTINGS = {
    "core.hooksPath": "/dev/null",
    "credential.helper": "",
    "fetch.recurseSubmodules": "false",
    "gc.auto": "0",
    "http.followRedirects": "false",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "30",
    "maintenance.auto": "false",
    "protocol.version": "2",
    "transfer.fsckObjects": "true",
}
_MISSING = re.compile(r"not our ref|couldn't find remote ref|upload-pack: not our ref|no such remote ref|bad object")
_DENIED = re.compile(r"Authentication failed|could not read (Username|Password)|Permission denied|error: 401")
_MOVED = re.compile(r"redirect|error: 30\d", re.IGNORECASE)
_STRANGER = re.compile(r"Host key verification failed")
_ABSENT = re.compile(r"repository '.*' not found|does not appear to be a git repository|error: 404|not found: did you")
_BROKEN = re.compile(r"fsck|did not send all necessary objects|index-pack failed|badTree|hasDot|missing")


class Mirror:
    """One source repository as it was last fetched; ``url`` is the registered one and may hold no credential."""

    def __init__(
        self,
        path: Path,
        url: str,
        *,
        token: str | None = None,
        ssh_key: Path | None = None,
        protocols: tuple[str, ...] = PROTOCOLS,
        near: bool = False,
    ) -> None:
        """``near``: the url is that of our own git host, which checks what is pushed to it."""
        self._path = path
        self._near = near
        self._url = _checked(url, protocols)
        self._token = token
        self._ssh_key = ssh_key
        self._lock = asyncio.Lock()

    def open_with(self, *, token: str | None, ssh_key: Path | None) -> None:
        """Use another credential from the next question on."""
        self._token, self._ssh_key = token, ssh_key

    async def fetch_commit(self, wanted: str) -> str:
        """Have the commit ``wanted`` (a full id, or a full ref as it is now) and return its id.

        Raises NotFound when the remote has no such commit, Refused for a redirect, Unavailable for all that may pass.
        """
        sha = wanted if names.SHA.fullmatch(wanted) else await self.head(wanted)
        if sha is None:
            raise NotFound(f"{self._url} has no {wanted}", reason="ref_not_found")
        async with self._lock:
            if not await asyncio.to_thread(self.has, sha) and not await self._fetched_near(sha):
                await self._fetch(sha, f"{KEEP}{sha}")
                if not await asyncio.to_thread(self.has, sha):
                    raise Invalid(f"{sha} is not a commit of {self._url}", reason="not_a_commit")
        return sha

    async def fetch_head(self, ref: str) -> str | None:
        """The commit that ``ref`` (a full ref) is now, fetched by the same question; None when there is no such ref.

        Raises Invalid when it is no commit, and what ``fetch_commit`` raises.
        """
        names.ref(ref)
        async with self._lock:
            if sha := await self._fetched_near(ref):
                return sha
            try:
                await self._fetch(ref, HEAD)
            except NotFound:
                return None
            return await asyncio.to_thread(self._kept, ref)

    def _kept(self, ref: str) -> str:
        """The commit that was just fetched, under a name of its own."""
        repository = self._repository()
        found = repository.references[HEAD].peel()
        if not isinstance(found, pygit2.Commit):
            raise Invalid(f"{ref} of {self._url} is not a commit", reason="not_a_commit")
        repository.references.create(f"{KEEP}{found.id}", found.id, force=True)
        return str(found.id)

    async def head(self, ref: str) -> str | None:
        """What the remote says that ``ref`` (a full ref or HEAD) is now; None when it has no such ref."""
        if ref != "HEAD":
            names.ref(ref)
        out = await self._git("ls-remote", "--", self._url, ref, limit=ASK_LIMIT)
        lines = (line.partition("\t") for line in out.splitlines())
        found = {name: sha for sha, _, name in lines}
        sha = found.get(f"{ref}^{{}}", found.get(ref))
        return names.sha(sha) if sha else None

    def has(self, sha: str) -> bool:
        """True if the commit was fetched before, whole."""
        if not (self._path / "HEAD").exists():
            return False
        repository = self._repository()
        return f"{KEEP}{sha}" in repository.references and isinstance(repository.get(sha), pygit2.Commit)

    def read(self, sha: str, path: str, *, limit: int = READ_LIMIT) -> bytes | None:
        """A file's bytes; None when the commit has no such file. Raises Invalid for a link or a file too large."""
        entry = _find(self._commit(sha).tree, path)
        if not isinstance(entry, pygit2.Blob):
            return None
        if entry.filemode == pygit2.enums.FileMode.LINK:
            raise Invalid(f"{path}: is a symbolic link, which is not followed here", reason="source_link")
        if entry.size > limit:
            raise Invalid(f"{path}: larger than {limit >> 10} KiB", reason="source_too_large")
        return entry.data

    def tree_id(self, sha: str, path: str = ".") -> str:
        """The id of the tree at ``path``. Raises NotFound."""
        return str(self._tree(sha, path).id)

    def paths(self, sha: str) -> list[str]:
        """All files of the commit, links among them, submodules not. Raises Invalid for more than 200,000."""
        found: list[str] = []
        for name in _files(self._commit(sha).tree, ""):
            found.append(name)
            if len(found) > MAX_PATHS:
                raise Invalid(f"{sha}: more than {MAX_PATHS} files", reason="source_too_large")
        return found

    def changed_paths(self, old: str, new: str) -> list[str] | None:
        """Paths that differ between two commits, both names of a renamed file; None when ``old`` is not known here."""
        repository = self._repository()
        before = repository.get(old) if names.SHA.fullmatch(old) else None
        if not isinstance(before, pygit2.Commit):
            return None
        deltas = repository.diff(before.tree, self._commit(new).tree).deltas
        return sorted({file.path for delta in deltas for file in (delta.old_file, delta.new_file)})

    def is_ancestor(self, ancestor: str, descendant: str) -> bool:
        """True if ``descendant`` is or comes after ``ancestor``; False when either is not known here."""
        repository = self._repository()
        if not all(isinstance(repository.get(sha), pygit2.Commit) for sha in (ancestor, descendant)):
            return False
        return ancestor == descendant or repository.descendant_of(descendant, ancestor)

    def author(self, sha: str) -> str:
        """``Name <address>`` of the commit's author, without control characters."""
        author = self._commit(sha).author
        return _printable(f"{author.name} <{author.email}>")

    def message(self, sha: str) -> str:
        """The commit's whole message: its trailers may hold commands."""
        return self._commit(sha).message

    def subject(self, sha: str) -> str:
        """The first line of the commit's message, for people."""
        return _printable(self.message(sha).strip().partition("\n")[0])[:200]

    def commit_time(self, sha: str) -> int:
        """Seconds since the epoch, by the committer."""
        return max(0, int(self._commit(sha).commit_time))

    def export(self, sha: str, path: str, into: Path, *, limits: ExportLimits | None = None) -> Exported:
        """Write the files of ``path`` into the new directory ``into``, all dated at the commit's time.

        Raises Invalid for links that lead outside and for more than ``limits``; then ``into`` is gone again.
        """
        repository, tree = self._repository(), self._tree(sha, path)
        return export_tree(repository, tree, into, time=self.commit_time(sha), limits=limits or ExportLimits())

    def _repository(self) -> pygit2.Repository:
        return pygit2.Repository(str(self._path), pygit2.enums.RepositoryOpenFlag.NO_SEARCH)

    def _commit(self, sha: str) -> pygit2.Commit:
        found = self._repository().get(names.sha(sha))
        if not isinstance(found, pygit2.Commit):
            raise NotFound(f"{sha} was not fetched from {self._url}", reason="commit_not_found")
        return found

    def _tree(self, sha: str, path: str) -> pygit2.Tree:
        found = _find(self._commit(sha).tree, path)
        if not isinstance(found, pygit2.Tree):
            raise NotFound(f"{sha[:12]} has no directory {path!r}", reason="path_not_found")
        return found

    async def _fetch(self, wanted: str, into: str) -> None:
        await asyncio.to_thread(self._prepare)
        options = ("--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--no-show-forced-updates")
        where = ("--git-dir", str(self._path))
        await self._git(*where, "fetch", *options, "--", self._url, f"+{wanted}:{into}", limit=FETCH_LIMIT)

    async def _fetched_near(self, wanted: str) -> str | None:
        """The commit, when the small way was enough to have it."""
        if not self._near or not (self._path / "HEAD").exists():
            return None
        if near_fetch.packs(self._path) >= near_fetch.MANY:
            await asyncio.to_thread(self._prepare)
            await self._git("--git-dir", str(self._path), "repack", "--geometric=2", "-d", "--quiet", limit=FETCH_LIMIT)
        asked = partial(near_fetch.fetched, self._path, self._url, basic=_basic(self._token or ""))
        return await asyncio.to_thread(asked, wanted=wanted, into=HEAD, kept=KEEP)

    def _prepare(self) -> None:
        """Make the repository, or remove the locks that a killed git left: nobody else works here."""
        if not (self._path / "HEAD").exists():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            pygit2.init_repository(str(self._path), bare=True)
        for pattern in ("*.lock", "refs/**/*.lock", "objects/pack/tmp_*", "objects/pack/.tmp-*"):
            for leftover in self._path.glob(pattern):
                leftover.unlink(missing_ok=True)

    async def _git(self, *words: str, limit: float) -> str:
        try:
            done = await run(orphan_proof(("git", *words)), timeout=limit, env=self._environment())
        except CommandTimeout:
            raise Unavailable(f"{self._url} did not answer in {limit:g} s", reason="remote_timeout") from None
        except CommandFailed as error:
            raise self._failure(error.stderr.decode("utf-8", "replace")) from None
        return done.stdout.decode("utf-8", "replace")

    def _failure(self, stderr: str) -> EncliiError:
        said = _printable(stderr.strip()[-500:])
        for secret in filter(None, (self._token, _basic(self._token or ""))):
            said = said.replace(secret, "***")
        text = f"{self._url}: {said}"
        if _MOVED.search(stderr):
            return Refused(f"{text}; a redirect is not followed: register the new address", reason="remote_redirected")
        if _STRANGER.search(stderr):
            advice = f"if its host has a new key indeed, remove the old one from {self._known_hosts()[0]}"
            return Refused(f"{text}; {advice}", reason="host_key_changed")
        if _MISSING.search(stderr):
            return NotFound(text, reason="commit_not_found")
        if _DENIED.search(stderr):
            return Refused(f"{text}; enclii link --credential names what opens it", reason="remote_denied")
        if _ABSENT.search(stderr):
            return Unavailable(text, reason="remote_not_found")
        if _BROKEN.search(stderr):
            return Invalid(text, reason="bad_objects")
        return Unavailable(text, reason="remote_unavailable")

    def _environment(self) -> dict[str, str]:
        settings = dict(_SETTINGS)
        parts = urlsplit(self._url)
        if self._token and parts.scheme in ("https", "http"):
            host = f"{parts.scheme}://{parts.netloc}/"
            settings[f"http.{host}.extraHeader"] = f"Authorization: Basic {_basic(self._token)}"
        pairs = list(enumerate(settings.items()))
        return {
            "GIT_ALLOW_PROTOCOL": parts.scheme,
            "GIT_CONFIG_COUNT": str(len(pairs)),
            **{f"GIT_CONFIG_KEY_{index}": key for index, (key, _) in pairs},
            **{f"GIT_CONFIG_VALUE_{index}": value for index, (_, value) in pairs},
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_SSH_COMMAND": self._ssh_command(),
            "GIT_TERMINAL_PROMPT": "0",
            "HOME": "/nonexistent",
        }

    def _ssh_command(self) -> str:
        """Git hands this to a shell, so the paths are quoted. No key of this machine's users is ever offered."""
        known, strict = self._known_hosts()
        key = f"IdentitiesOnly=yes -i {_quoted(self._ssh_key)}" if self._ssh_key else "PubkeyAuthentication=no"
        options = f"-o BatchMode=yes -o StrictHostKeyChecking={strict} -o UserKnownHostsFile={_quoted(known)}"
        return f"ssh -F /dev/null {options} -o IdentityAgent=none -o {key}"

    def _known_hosts(self) -> tuple[Path, str]:
        """The file beside the deploy key, when there is one, says all; else a host's key is pinned when first seen."""
        given = self._ssh_key.parent / "known_hosts" if self._ssh_key else None
        return (given, "yes") if given and given.exists() else (self._path.with_suffix(".known_hosts"), "accept-new")


def _checked(url: str, protocols: tuple[str, ...]) -> str:
    parts = urlsplit(url)
    if parts.scheme not in protocols or re.search(r"[\s\x00-\x1f\x7f]", url):
        raise Invalid(f"a repository's address starts with one of {', '.join(protocols)}", reason="bad_repository_url")
    if parts.password or (parts.username and parts.scheme != "ssh"):
        raise Invalid("a repository's address holds no credential: give the token apart", reason="bad_repository_url")
    if parts.hostname is not None and parts.hostname.startswith("-"):
        raise Invalid("a repository's address holds no host", reason="bad_repository_url")
    return url


def _find(tree: pygit2.Tree, path: str) -> pygit2.Object | None:
    """The object at ``path``, links not followed."""
    clean = path.strip("/")
    if clean in ("", "."):
        return tree
    with contextlib.suppress(KeyError, ValueError):
        return tree[clean]
    return None


def _files(tree: pygit2.Tree, prefix: str) -> Iterator[str]:
    for entry in tree:
        if isinstance(entry, pygit2.Tree):
            yield from _files(entry, f"{prefix}{entry.name}/")
        elif isinstance(entry, pygit2.Blob):
            yield f"{prefix}{entry.name}"


def _basic(token: str) -> str:
    return base64.b64encode(f"x-access-token:{token}".encode()).decode() if token else ""


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "'\\''") + "'"


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() or character == "\n" else " " for character in text)
