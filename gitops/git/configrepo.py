"""The config repository as a bare mirror: fetched, read and written as tree objects without a checkout, pushed once.

Blocking; one instance belongs to one thread at a time. The mirror is disposable: all that it holds is fetched again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

import pygit2
from pygit2.enums import CredentialType, SortMode

from gitops import hold as holds
from gitops import trailers
from gitops.committing.edits import Commit, Draft, Edit
from gitops.committing.instances import TRAILER
from gitops.git import gitcommit
from gitops.git.gitcommit import Sign
from gitops.git.gittree import (
    BLOB,
    REGULAR,
    Directory,
    Holding,
    changed,
    directories,
    entries,
    holding,
    listing,
    subdirectories,
    subtree,
    with_changes,
)
from gitops.git.objects import Objects
from gitops.hold import Hold
from gitops.layout import HOLD_FILE, PROJECT_FILE
from pipeline import names
from pipeline.errors import Conflict, Invalid, NotFound, Unavailable
from pipeline.guard import Guard, unguarded

REMOTE_TIP = "refs/enclii/remote"
CONNECT_LIMIT_MS = 5_000
ANSWER_LIMIT_MS = 20_000


class Login(Protocol):
    """Gives user name and password when the remote asks."""

    def __call__(self) -> tuple[str, str]: ...


class _Talk(pygit2.RemoteCallbacks):
    """Answers a login once, and keeps what the server said of each ref: push() itself returns normally when refused."""

    def __init__(self, login: Login | None) -> None:
        super().__init__()
        self._login = login
        self._asked = 0
        self.answers: dict[str, str | None] = {}
        self.said: list[str] = []

    def credentials(self, url: str, username_from_url: str | None, allowed_types: CredentialType) -> pygit2.UserPass:
        self._asked += 1
        if self._login is None or self._asked > 1:
            # libgit2 asks again and again after a refusal.
            raise Unavailable("the config repository refused the committer's login", reason="config_login_refused")
        return pygit2.UserPass(*self._login())

    def push_update_reference(self, refname: str, message: str | None) -> None:
        self.answers[refname] = message

    def sideband_progress(self, string: str) -> None:
        self.said.append(string)


class ConfigRepo:
    """One branch of the config repository, through a bare mirror in ``path``.

    New commits wait in memory until they are pushed; fetching drops those that were not.
    """

    def __init__(
        self, path: Path, url: str, *, branch: str = "main", login: Login | None = None, instance: str = "",
        sign: Sign | None = None, guard: Guard = unguarded,
    ) -> None:  # fmt: skip
        """``guard`` is asked before anything is pushed; it raises once another may be the one who pushes."""
        self._guard = guard
        self._url, self._login, self._instance, self._sign = url, login, instance, sign
        self.ref = f"refs/heads/{branch}"
        pygit2.settings.server_connect_timeout = CONNECT_LIMIT_MS
        pygit2.settings.server_timeout = ANSWER_LIMIT_MS
        pygit2.settings.enable_fsync_gitdir(True)
        _prepare(path)
        self._objects = Objects(path)
        self._holding: Holding = {}
        self.directory = path

    def fetch(self) -> str:
        """The remote branch's tip, its objects brought here; "" for a branch without a commit. Raises Unavailable."""
        self._objects.forget()
        talk = _Talk(self._login)
        try:
            remote = self._fresh_remote()
            heads = {head.name: str(head.oid) for head in remote.list_heads(callbacks=talk)}
            tip = heads.get(self.ref, "")
            if tip and tip not in self._repo:  # by the connection that told the heads: rivals gain from each new one
                remote.fetch([f"+{self.ref}:{REMOTE_TIP}"], callbacks=talk, message="fetch")
        except (pygit2.GitError, OSError) as error:
            raise self._away(error, talk) from error
        if tip and tip not in self._repo:
            raise Unavailable("the config branch moved while it was fetched", reason="config_moved", delay=0.1)
        return tip

    def push(self, commit: str) -> None:
        """Move the remote branch to ``commit``, a descendant of its tip.

        Raises Conflict when somebody else was faster or the server refused, Unavailable when the outcome is unknown.
        """
        if "://" not in self._url or self._url.startswith("file:"):
            # libgit2 writes a local repository itself: no hook is asked, and a rival's commit is overwritten.
            raise Invalid("a config repository cannot be pushed to by path; serve it", reason="config_url_is_path")
        self._guard()
        talk = _Talk(self._login)
        try:
            self._objects.keep()
        except OSError as error:
            raise Unavailable(f"the mirror cannot be written: {error.strerror}", reason="mirror_unwritable") from error
        self._repo.references.create(self.ref, commit, force=True)
        self._guard()
        try:
            self._fresh_remote().push([f"{self.ref}:{self.ref}"], callbacks=talk)
        except (pygit2.GitError, OSError) as error:
            if "non-fast" in str(error) or "not present locally" in str(error):
                raise Conflict("the config branch moved", reason="config_moved") from error
            raise self._away(error, talk) from error
        if self.ref not in talk.answers:
            raise Unavailable("the config repository did not answer the push", reason="config_push_unanswered")
        if (refusal := talk.answers[self.ref]) is not None:
            said = trailers.one_line(" ".join([refusal, *talk.said]), 500)
            raise Conflict(f"the config repository refused the push: {said}", reason="config_push_refused")
        self._repo.references.create(REMOTE_TIP, commit, force=True)

    def publish(self, branch: str, commit: str) -> None:
        """Have a branch of Enclii's own at ``commit``, wherever it was; "" takes it away. Raises Unavailable."""
        self._guard()
        ref = names.BRANCH_PREFIX + branch
        talk = _Talk(self._login)
        try:
            remote = self._fresh_remote()
            if commit:
                self._objects.keep()
                self._repo.references.create(ref, commit, force=True)
            elif ref not in {head.name for head in self._fresh_remote().list_heads(callbacks=_Talk(self._login))}:
                return
            remote.push([f"+{ref}:{ref}" if commit else f":{ref}"], callbacks=talk)
        except (pygit2.GitError, OSError) as error:
            raise self._away(error, talk) from error
        if (refusal := talk.answers.get(ref, "no answer")) is not None:
            said = trailers.one_line(" ".join([refusal, *talk.said]), 500)
            raise Unavailable(f"the branch {branch} was refused: {said}", reason="config_branch_refused", delay=30.0)

    def _fresh_remote(self) -> pygit2.Remote:
        """A remote of its own for each call: one that has listed stays connected for fetching and cannot push."""
        return self._repo.remotes.create_anonymous(self._url)

    def write(self, parent: str, drafts: Iterable[Draft]) -> list[tuple[str, str]]:
        """One commit per draft on top of ``parent`` ("" for the first ever), in memory; no ref moves.

        Returns each commit with the new tree id of what it edited first, "" when that is gone. Raises what a change
        of a file raises.
        """
        written: list[tuple[str, str]] = []
        root = self._tree_of(parent)
        for draft in drafts:
            for edit in (draft.edit, *draft.others):
                root = with_changes(self._objects, root, edit.path, partial(self._edited, edit))
            marked = replace(draft, message=trailers.added(draft.message, TRAILER, self._instance))
            parent = self._objects.write("commit", gitcommit.encode(marked, tree=root, parent=parent, sign=self._sign))
            written.append((parent, subtree(self._objects, root, draft.edit.path)))
        return written

    def commits(self, tip: str, since: str) -> list[Commit] | None:
        """The first-parent chain after ``since`` up to ``tip``, oldest first; None when ``since`` is not on it."""
        chain: list[Commit] = []
        at = tip
        while at != since:
            if not at:
                return None
            chain.append(self.commit(at))
            at = chain[-1].parents[0] if chain[-1].parents else ""
        return chain[::-1]

    def ours_between(self, tip: str, since: str) -> list[Commit]:
        """Enclii's own commits that ``tip`` reaches and ``since`` does not, parents first, over merges too."""
        walk = self._repo.walk(pygit2.Oid(hex=tip), SortMode.TOPOLOGICAL | SortMode.REVERSE)
        if since and since in self._repo:
            walk.hide(pygit2.Oid(hex=since))
        return [view for commit in walk if (view := self.commit(str(commit.id))).ours]

    def commit(self, commit: str) -> Commit:
        """One commit. Raises NotFound."""
        return gitcommit.decode(commit, self._commit_at(commit))

    def has(self, oid: str) -> bool:
        """True when the mirror holds this object."""
        return bool(oid) and oid in self._objects

    def reaches(self, tip: str, commit: str) -> bool:
        """True when ``commit`` is ``tip`` or one of its ancestors; both were fetched or pushed."""
        if tip == commit or not commit:
            return True
        there = commit in self._repo
        return there and bool(self._repo.descendant_of(pygit2.Oid(hex=tip), pygit2.Oid(hex=commit)))

    def changes(self, before: str, after: str) -> Iterator[tuple[str, str]]:
        """(path, new tree or blob id, "" when gone) of every service directory and project file that differs."""
        old, new = self._tree_of(before), self._tree_of(after)
        yield from directories(self._objects, old, new, files=frozenset({PROJECT_FILE}))

    def tree(self, commit: str, path: str) -> str:
        """The id of the tree or blob at ``path``, "" when there is none. Raises NotFound for an unknown commit."""
        return subtree(self._objects, self._tree_of(commit), path)

    def names(self, tree: str) -> dict[str, str]:
        """File name → blob id of a directory by its tree id; nested directories and links are left out."""
        return entries(self._objects, tree)

    def files(self, tree: str) -> dict[str, bytes]:
        """The files of a directory by its tree id."""
        return {name: self._data(blob) for name, blob in entries(self._objects, tree).items()}

    def hold(self, tree: str) -> Hold | None:
        """The hold in a service's directory, by the directory's tree id."""
        blob = entries(self._objects, tree).get(HOLD_FILE)
        return holds.parse(self._data(blob)) if blob else None

    def children(self, commit: str, path: str) -> list[str]:
        """The names of the directories in the directory ``path``."""
        return subdirectories(self._objects, self.tree(commit, path) if commit else "")

    def read(self, commit: str, path: str) -> bytes | None:
        """One file's bytes, or None."""
        found = self.tree(commit, path)
        return self._data(found) if found else None

    def blob(self, blob: str) -> bytes:
        """A file's bytes by its blob id."""
        return self._data(blob)

    def blobs(self, commit: str, folder: str) -> dict[str, bytes]:
        """The files of one directory by their paths; the file itself when ``folder`` is one."""
        tree = self.tree(commit, folder) if folder else self._tree_of(commit)
        found = {f"{folder}/{name}" if folder else name: data for name, data in self.files(tree).items()}
        alone = self._data(tree) if tree and not found else b""
        return {folder: alone} if alone else found

    def same(self, one: str, other: str) -> bool:
        """True when two commits have the same files."""
        return self._tree_of(one) == self._tree_of(other)

    def changed(self, before: str, after: str) -> set[str]:
        """The path of every file that differs between two commits."""
        return set(changed(self._objects, self._tree_of(before), self._tree_of(after)))

    def holding(self, commit: str, name: str) -> dict[str, str]:
        """Service directory → blob id, of all that have a file ``name``; what did not change is not read again."""
        return holding(self._objects, self._tree_of(commit), name, self._holding)

    def _data(self, blob: str) -> bytes:
        """A file's bytes; nothing for what a person put in a file's place."""
        kind, data = self._objects.read(blob) if blob in self._objects else ("", b"")
        return data if kind == "blob" else b""

    def _edited(self, edit: Edit, old: Directory) -> Directory:
        if edit.delete:
            return {}
        base = old if edit.base is None else listing(self._objects, edit.base)
        kept = {name: entry for name, entry in base.items() if name not in edit.remove}
        for name, data in edit.write.items():
            kept[name] = (self._objects.write("blob", data), BLOB)
        for name, change in edit.change.items():
            oid, mode = kept.get(name, ("", BLOB))
            data = change(self._data(oid) if oid and mode in REGULAR else None)
            kept[name] = (self._objects.write("blob", data), mode)
        return kept

    def _commit_at(self, commit: str) -> bytes:
        try:
            kind, data = self._objects.read(commit)
        except (KeyError, ValueError):
            kind, data = "", b""
        if kind != "commit":
            raise NotFound(f"the config repository has no commit {commit[:12]}", reason="config_commit_missing")
        return data

    def _tree_of(self, commit: str) -> str:
        return gitcommit.tree_of(self._commit_at(commit)) if commit else ""

    @property
    def _repo(self) -> pygit2.Repository:
        return self._objects.repo

    def _away(self, error: Exception, talk: _Talk) -> Unavailable:
        said = trailers.one_line(" ".join([str(error), *talk.said]), 300).replace(self._url, "the remote")
        return Unavailable(f"the config repository does not answer: {said}", reason="config_repository_away")


def _prepare(path: Path) -> None:
    """Make the mirror, or clear what a dead process left: it has a single writer."""
    if not (path / "HEAD").exists():
        pygit2.init_repository(path, bare=True)
    for lock in path.rglob("*.lock"):
        lock.unlink()
