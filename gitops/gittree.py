"""Trees of the config repository: one path changed through its parents, two trees compared by their ids.

Only what differs is opened, so the cost follows the change and not the repository's size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pygit2
from pygit2.enums import FileMode

Directory = dict[str, tuple[pygit2.Oid, FileMode]]
"""Name → (object id, mode)."""
DEPTH = 3
TREE_LIMIT = 1 << 20


def with_changes(
    repo: pygit2.Repository, root: pygit2.Oid | None, path: str, change: Callable[[Directory], Directory]
) -> pygit2.Oid:
    """The root tree in which the directory ``path`` is what ``change`` makes of it; an empty directory vanishes."""
    return _changed(repo, root, path.split("/"), change) or repo.TreeBuilder().write()


def _changed(
    repo: pygit2.Repository, tree: pygit2.Oid | None, parts: list[str], change: Callable[[Directory], Directory]
) -> pygit2.Oid | None:
    found = repo[tree] if tree is not None else None
    old = found if isinstance(found, pygit2.Tree) else None
    if not parts:
        entries = change({entry.name or "": (entry.id, entry.filemode) for entry in old or ()})
        return _built(repo, entries)
    builder = repo.TreeBuilder(old) if old is not None else repo.TreeBuilder()
    name, rest = parts[0], parts[1:]
    below = builder.get(name)
    is_tree = below is not None and below.filemode == FileMode.TREE
    new = _changed(repo, below.id if below is not None and is_tree else None, rest, change)
    if new is not None:
        builder.insert(name, new, FileMode.TREE)
    elif below is not None:
        builder.remove(name)
    return builder.write() if len(builder) else None


def _built(repo: pygit2.Repository, directory: Directory) -> pygit2.Oid | None:
    if not directory:
        return None
    builder = repo.TreeBuilder()
    for name, (oid, mode) in directory.items():
        builder.insert(name, oid, mode)
    return builder.write()


def subtree(repo: pygit2.Repository, root: pygit2.Oid | None, path: str) -> str:
    """The id at ``path``, "" when there is nothing."""
    at = root
    for name in path.split("/"):
        tree = repo[at] if at is not None else None
        if not isinstance(tree, pygit2.Tree) or name not in tree:
            return ""
        at = tree[name].id
    return str(at) if at is not None else ""


def entries(repo: pygit2.Repository, tree: str) -> dict[str, str]:
    """File name → blob id; only regular files, so no link leads anywhere."""
    found = repo[tree] if tree else None
    if not isinstance(found, pygit2.Tree):
        return {}
    regular = (FileMode.BLOB, FileMode.BLOB_EXECUTABLE)
    return {entry.name or "": str(entry.id) for entry in found if entry.filemode in regular}


def subdirectories(repo: pygit2.Repository, tree: str) -> list[str]:
    """The names of a tree's own trees."""
    found = repo[tree] if tree else None
    if not isinstance(found, pygit2.Tree):
        return []
    return [entry.name or "" for entry in found if entry.filemode == FileMode.TREE]


def directories(
    repo: pygit2.Repository, old: pygit2.Oid | None, new: pygit2.Oid | None, *, files: frozenset[str]
) -> Iterator[tuple[str, str]]:
    """(path, new id or "") of what differs: directories three names deep, and ``files`` two names deep."""
    yield from _differing(repo, old, new, "", files)


def _differing(
    repo: pygit2.Repository, old: pygit2.Oid | None, new: pygit2.Oid | None, path: str, files: frozenset[str]
) -> Iterator[tuple[str, str]]:
    depth = path.count("/")
    before, after = _children(repo, old), _children(repo, new)
    for name in sorted({*before, *after}):
        was, now = before.get(name), after.get(name)
        if was == now:
            continue
        if depth == 1 and name in files:
            yield path + name, str(now[0]) if now else ""
            continue
        was_tree, now_tree = _if_tree(was), _if_tree(now)
        if was_tree is None and now_tree is None:
            continue
        if depth == DEPTH - 1:
            yield path + name, str(now_tree or "")
        else:
            yield from _differing(repo, was_tree, now_tree, f"{path}{name}/", files)


def _children(repo: pygit2.Repository, tree: pygit2.Oid | None) -> Directory:
    found = repo[tree] if tree is not None else None
    if not isinstance(found, pygit2.Tree):
        return {}
    return {entry.name or "": (entry.id, entry.filemode) for entry in found}


def _if_tree(entry: tuple[pygit2.Oid, FileMode] | None) -> pygit2.Oid | None:
    return entry[0] if entry is not None and entry[1] == FileMode.TREE else None
