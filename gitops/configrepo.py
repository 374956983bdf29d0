"""The config repository as a bare mirror: fetched, read and written as tree objects without a checkout, pushed once.

Blocking; one instance belongs to one thread at a time. The mirror is disposable: all that it holds is fetched again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Protocol

import pygit2
from pygit2.enums import CredentialType, FileMode, SortMode

from gitops import hold as holds
from gitops import trailers
from gitops.edits import COMMITTER, Commit, Draft, Edit, author
from gitops.gittree import Directory, directories, entries, subdirectories, subtree, with_changes
from gitops.hold import Hold
from gitops.layout import HOLD_FILE, PROJECT_FILE
from pipeline.errors import Conflict, Invalid, NotFound, Unavailable

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

    ``fsync`` costs one wait for the disk per object and is a setting of the whole process.
    """

    def __init__(
        self, path: Path, url: str, *, branch: str = "main", login: Login | None = None, fsync: bool = True
    ) -> None:
        self._url, self._login = url, login
        self.ref = f"refs/heads/{branch}"
        pygit2.settings.server_connect_timeout = CONNECT_LIMIT_MS
        pygit2.settings.server_timeout = ANSWER_LIMIT_MS
        pygit2.settings.enable_fsync_gitdir(fsync)
        self._repo = _opened(path)
        self.directory = path

    def fetch(self) -> str:
        """The remote branch's tip, its objects brought here; "" for a branch without a commit. Raises Unavailable."""
        talk = _Talk(self._login)
        try:
            heads = {head.name: str(head.oid) for head in self._fresh_remote().list_heads(callbacks=talk)}
            tip = heads.get(self.ref, "")
            if tip and tip not in self._repo:
                talk = _Talk(self._login)
                self._fresh_remote().fetch([f"+{self.ref}:{REMOTE_TIP}"], callbacks=talk, message="fetch")
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
        talk = _Talk(self._login)
        self._repo.references.create(self.ref, commit, force=True)
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

    def _fresh_remote(self) -> pygit2.Remote:
        """A remote of its own for each call: one that has listed stays connected for fetching and cannot push."""
        return self._repo.remotes.create_anonymous(self._url)

    def _remote(self) -> pygit2.Remote:
        # One for each exchange: a listing leaves its connection open until the object goes.
        return self._repo.remotes.create_anonymous(self._url)

    def write(self, parent: str, drafts: Iterable[Draft]) -> list[tuple[str, str]]:
        """One commit per draft on top of ``parent`` ("" for the first ever); no ref moves.

        Returns each commit with the new tree id of what it edited, "" when that is gone.
        """
        written: list[tuple[str, str]] = []
        root = self._tree_of(parent)
        for draft in drafts:
            edit = draft.edit
            root = with_changes(self._repo, root, edit.path, partial(self._edited, edit))
            parent = self._commit(parent, root, draft)
            written.append((parent, subtree(self._repo, root, edit.path)))
        return written

    def commits(self, tip: str, since: str) -> list[Commit] | None:
        """The first-parent chain after ``since`` up to ``tip``, oldest first; None when ``since`` is not on it."""
        chain: list[Commit] = []
        at = tip
        while at != since:
            if not at:
                return None
            commit = self._commit_at(at)
            chain.append(_view(commit))
            at = str(commit.parent_ids[0]) if commit.parent_ids else ""
        return chain[::-1]

    def ours_between(self, tip: str, since: str) -> list[Commit]:
        """Enclii's own commits that ``tip`` reaches and ``since`` does not, parents first, over merges too."""
        walk = self._repo.walk(pygit2.Oid(hex=tip), SortMode.TOPOLOGICAL | SortMode.REVERSE)
        if since and since in self._repo:
            walk.hide(pygit2.Oid(hex=since))
        return [view for commit in walk if (view := _view(commit)).ours]

    def commit(self, commit: str) -> Commit:
        """One commit. Raises NotFound."""
        return _view(self._commit_at(commit))

    def has(self, oid: str) -> bool:
        """True when the mirror holds this object."""
        return bool(oid) and oid in self._repo

    def reaches(self, tip: str, commit: str) -> bool:
        """True when ``commit`` is ``tip`` or one of its ancestors."""
        if tip == commit or not commit:
            return True
        return self.has(commit) and bool(self._repo.descendant_of(pygit2.Oid(hex=tip), pygit2.Oid(hex=commit)))

    def changes(self, before: str, after: str) -> Iterator[tuple[str, str]]:
        """(path, new tree or blob id, "" when gone) of every service directory and project file that differs."""
        old, new = self._tree_of(before), self._tree_of(after)
        yield from directories(self._repo, old, new, files=frozenset({PROJECT_FILE}))

    def tree(self, commit: str, path: str) -> str:
        """The id of the tree or blob at ``path``, "" when there is none. Raises NotFound for an unknown commit."""
        return subtree(self._repo, self._tree_of(commit), path)

    def names(self, tree: str) -> dict[str, str]:
        """File name → blob id of a directory by its tree id; nested directories and links are left out."""
        return entries(self._repo, tree)

    def files(self, tree: str) -> dict[str, bytes]:
        """The files of a directory by its tree id."""
        return {name: self._data(blob) for name, blob in entries(self._repo, tree).items()}

    def hold(self, tree: str) -> Hold | None:
        """The hold in a service's directory, by the directory's tree id."""
        blob = entries(self._repo, tree).get(HOLD_FILE)
        return holds.parse(self._data(blob)) if blob else None

    def children(self, commit: str, path: str) -> list[str]:
        """The names of the directories in the directory ``path``."""
        return subdirectories(self._repo, self.tree(commit, path) if commit else "")

    def read(self, commit: str, path: str) -> bytes | None:
        """One file's bytes, or None."""
        found = self.tree(commit, path)
        return self._data(found) if found else None

    def _data(self, blob: str) -> bytes:
        found = self._repo[blob]
        return found.data if isinstance(found, pygit2.Blob) else b""

    def _edited(self, edit: Edit, old: Directory) -> Directory:
        if edit.delete:
            return {}
        base = old if edit.base is None else dict(self._entries(edit.base))
        kept = {name: entry for name, entry in base.items() if name not in edit.remove}
        for name, data in edit.write.items():
            kept[name] = (self._repo.create_blob(data), FileMode.BLOB)
        return kept

    def _entries(self, tree: str) -> Directory:
        found = self._repo[tree]
        assert isinstance(found, pygit2.Tree)
        return {entry.name or "": (entry.id, entry.filemode) for entry in found}

    def _commit(self, parent: str, tree: pygit2.Oid, draft: Draft) -> str:
        seconds = int(datetime.fromisoformat(draft.at).timestamp())
        by = pygit2.Signature(*author(draft.author), seconds, 0)
        committer = pygit2.Signature(*COMMITTER, seconds, 0)
        parents = [pygit2.Oid(hex=parent)] if parent else []
        return str(self._repo.create_commit(None, by, committer, draft.message, tree, parents))

    def _commit_at(self, commit: str) -> pygit2.Commit:
        try:
            found = self._repo[commit]
        except (KeyError, ValueError):
            raise NotFound(
                f"the config repository has no commit {commit[:12]}", reason="config_commit_missing"
            ) from None
        assert isinstance(found, pygit2.Commit)
        return found

    def _tree_of(self, commit: str) -> pygit2.Oid | None:
        return self._commit_at(commit).tree_id if commit else None

    def _away(self, error: Exception, talk: _Talk) -> Unavailable:
        said = trailers.one_line(" ".join([str(error), *talk.said]), 300).replace(self._url, "the remote")
        return Unavailable(f"the config repository does not answer: {said}", reason="config_repository_away")


def _opened(path: Path) -> pygit2.Repository:
    if not (path / "HEAD").exists():
        pygit2.init_repository(path, bare=True)
    for lock in path.rglob("*.lock"):
        # Only a process that died leaves one: this mirror has a single writer.
        lock.unlink()
    return pygit2.Repository(path)


def _view(commit: pygit2.Commit) -> Commit:
    found = trailers.parse(commit.message)
    ours = (commit.committer.name, commit.committer.email) == COMMITTER and "Intent" in found
    at = datetime.fromtimestamp(commit.commit_time, tz=UTC).isoformat(timespec="milliseconds")
    return Commit(
        id=str(commit.id),
        parents=tuple(str(parent) for parent in commit.parent_ids),
        author=trailers.one_line(commit.author.name, 100),
        subject=trailers.one_line(commit.message.partition("\n")[0], trailers.SUBJECT_LIMIT),
        at=at.replace("+00:00", "Z"),
        trailers=found if ours else {},
    )
