"""Trees of the config repository: one path changed through its parents, two trees compared by their ids.

Only what differs is opened, so the cost follows the change and not the repository's size.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from gitops.git.objects import Objects

Directory = dict[str, tuple[str, int]]
"""Name → (object id, mode)."""
TREE = 0o040000
BLOB = 0o100644
REGULAR = frozenset({BLOB, 0o100755, 0o100664})
DEPTH = 3
REMEMBERED = 100_000
Holding = dict[tuple[str, int, str], dict[str, str]]
"""(tree, depth, file name) → what is below."""
ESCAPE = "surrogateescape"
_ENTRY = re.compile(rb"([0-7]+) ([^\0]+)\0(.{20})", re.DOTALL)


def with_changes(objects: Objects, root: str, path: str, change: Callable[[Directory], Directory]) -> str:
    """The root tree in which the directory ``path`` is what ``change`` makes of it; an empty directory vanishes."""
    return _changed(objects, root, path.split("/") if path else [], change) or objects.write("tree", b"")


def _changed(objects: Objects, tree: str, parts: list[str], change: Callable[[Directory], Directory]) -> str:
    directory = listing(objects, tree)
    if not parts:
        return _built(objects, change(directory))
    name, rest = parts[0], parts[1:]
    new = _changed(objects, _if_tree(directory.get(name)), rest, change)
    if new:
        directory[name] = (new, TREE)
    else:
        directory.pop(name, None)
    return _built(objects, directory)


def _built(objects: Objects, directory: Directory) -> str:
    """The id of a tree, "" for an empty one."""
    if not directory:
        return ""
    named = ((name.encode(errors=ESCAPE), oid, mode) for name, (oid, mode) in directory.items())
    # Git sorts a directory as if its name ended with a slash.
    ordered = sorted((name + b"/" if mode == TREE else name, name, oid, mode) for name, oid, mode in named)
    return objects.write(
        "tree", b"".join(b"%o %s\0" % (mode, name) + bytes.fromhex(oid) for _, name, oid, mode in ordered)
    )


def listing(objects: Objects, tree: str) -> Directory:
    """Everything in a tree by its id; nothing for "" and for what is no tree. Raises KeyError for an unknown id."""
    kind, data = objects.read(tree) if tree else ("", b"")
    if kind != "tree":
        return {}
    return {name.decode(errors=ESCAPE): (oid.hex(), int(mode, 8)) for mode, name, oid in _ENTRY.findall(data)}


def subtree(objects: Objects, root: str, path: str) -> str:
    """The id at ``path``, "" when there is nothing."""
    at, mode = root, TREE
    for name in path.split("/"):
        at, mode = listing(objects, at if mode == TREE else "").get(name, ("", 0))
    return at


def entries(objects: Objects, tree: str) -> dict[str, str]:
    """File name → blob id; only regular files, so no link leads anywhere."""
    return {name: oid for name, (oid, mode) in listing(objects, tree).items() if mode in REGULAR}


def subdirectories(objects: Objects, tree: str) -> list[str]:
    """The names of a tree's own trees."""
    return [name for name, (_, mode) in listing(objects, tree).items() if mode == TREE]


def directories(objects: Objects, old: str, new: str, *, files: frozenset[str]) -> Iterator[tuple[str, str]]:
    """(path, new id or "") of what differs: directories three names deep, and ``files`` two names deep."""
    yield from _differing(objects, old, new, "", files)


def _differing(objects: Objects, old: str, new: str, path: str, files: frozenset[str]) -> Iterator[tuple[str, str]]:
    depth = path.count("/")
    before, after = listing(objects, old), listing(objects, new)
    for name in sorted({*before, *after}):
        was, now = before.get(name), after.get(name)
        if was == now:
            continue
        if depth == 1 and name in files:
            yield path + name, now[0] if now else ""
            continue
        was_tree, now_tree = _if_tree(was), _if_tree(now)
        if not was_tree and not now_tree:
            continue
        if depth == DEPTH - 1:
            yield path + name, now_tree
        else:
            yield from _differing(objects, was_tree, now_tree, f"{path}{name}/", files)


def changed(objects: Objects, old: str, new: str, path: str = "") -> Iterator[str]:
    """The path of every file that differs between two trees."""
    before, after = listing(objects, old), listing(objects, new)
    for name in {*before, *after}:
        was, now = before.get(name), after.get(name)
        if was == now:
            continue
        was_tree, now_tree = _if_tree(was), _if_tree(now)
        if was_tree or now_tree:
            yield from changed(objects, was_tree, now_tree, f"{path}{name}/")
        if (was is not None and not was_tree) or (now is not None and not now_tree):
            yield path + name


def holding(objects: Objects, tree: str, name: str, known: Holding, *, depth: int = DEPTH) -> dict[str, str]:
    """Path → blob id of every file ``name`` that lies ``depth`` directories below, remembered by the trees' ids."""
    found = known.get((tree, depth, name))
    if found is None:
        found = {}
        for child, (oid, mode) in listing(objects, tree).items():
            if not depth and child == name and mode in REGULAR:
                found[""] = oid
            elif depth and mode == TREE:
                below = holding(objects, oid, name, known, depth=depth - 1)
                found |= {f"{child}/{path}".rstrip("/"): blob for path, blob in below.items()}
        if len(known) >= REMEMBERED:
            known.clear()
        known[tree, depth, name] = found
    return found


def _if_tree(entry: tuple[str, int] | None) -> str:
    return entry[0] if entry is not None and entry[1] == TREE else ""
