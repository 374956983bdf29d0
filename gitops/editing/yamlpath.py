"""Where a value is in a YAML file: ``spec.template.spec.containers[name=web].image``, resolved to exactly one place.

A step is a key, ``[2]`` or ``[key=value]``; a key with dots or brackets in it is quoted: ``metadata."example.com/x"``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from gitops.editing.spans import Alias, Mapping, Node, Parsed, Scalar, Sequence
from pipeline.errors import Invalid, Refused

Path = tuple[int | str, ...]
"""The document's number, then keys and indices."""
Step = str | int | tuple[str, str]
"""A key, an index, or the item of a list whose key has a value."""
MERGE = "<<"
_STEP = re.compile(
    r"""(?P<dot>^|\.)(?:"(?P<quoted>[^"]+)"|(?P<key>[^.\[\]"]+))"""
    r"""|\[(?:(?P<index>[0-9]{1,6})|(?P<name>[^=\[\]"]+)=(?:"(?P<exact>[^"]*)"|(?P<value>[^\[\]"]*)))\]"""
)


def parsed(text: str) -> tuple[Step, ...]:
    """The steps of a path. Raises Invalid."""
    steps: list[Step] = []
    at = 0
    while at < len(text):
        found = _STEP.match(text, at)
        if found is None or found["dot"] == ("" if at else "."):
            raise Invalid(f"{text[:200]!r} is no path: it goes wrong at character {at + 1}", reason="bad_path")
        steps.append(_step(found))
        at = found.end()
    if not steps:
        raise Invalid("a path is empty", reason="bad_path")
    return tuple(steps)


def _step(found: re.Match[str]) -> Step:
    if found["index"] is not None:
        return int(found["index"])
    if found["name"] is not None:
        return found["name"], found["value"] if found["exact"] is None else found["exact"]
    return str(found["quoted"] or found["key"])


def shown(path: Path) -> str:
    """A resolved path as a person would write it."""
    text = ""
    for step in path[1:]:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            quoted = f'"{step}"' if re.search(r'[.\[\]"]', step) or not step else step
            text += f".{quoted}" if text else quoted
    return text + (f" (document {path[0]})" if path[0] else "")


def resolve(file: Parsed, steps: tuple[Step, ...], *, document: int | None = None) -> Path:
    """The one place that ``steps`` lead to. Raises Refused when there is none, several, or the value is not there."""
    found: list[Path] = []
    missing: Refused | None = None
    for number, root in enumerate(file.documents):
        if document not in (None, number):
            continue
        try:
            found.append((number, *_steps(root, steps)))
        except Refused as error:
            if error.reason != "target_missing":
                raise
            missing = error
    if len(found) > 1:
        numbers = " and ".join(str(path[0]) for path in found)
        raise Refused(f"documents {numbers} both have it; say which `document`", reason="target_ambiguous")
    if not found:
        raise missing or Refused("the file has no such document", reason="target_missing")
    return found[0]


def _steps(root: Node | None, steps: tuple[Step, ...]) -> Iterator[int | str]:
    node = root
    for step in steps:
        exact = _matching(node, step) if isinstance(step, tuple) else step
        node = child(node, exact)
        yield exact


def at(file: Parsed, path: Path) -> Node:
    """The node at a resolved path. Raises Refused when it, or what it lies in, is shared with other places."""
    number = path[0]
    assert isinstance(number, int)
    node = file.documents[number] if number < len(file.documents) else None
    for step in path[1:]:
        _own(node, path)
        node = child(node, step)
    if node is None:
        raise Refused(f"{shown(path)}: there is no such document", reason="target_missing")
    _own(node, path)
    return node


def scalar(file: Parsed, path: Path) -> Scalar:
    """The scalar at a resolved path. Raises Refused."""
    node = at(file, path)
    if not isinstance(node, Scalar):
        raise Refused(f"{shown(path)} is not a single value", reason="target_not_scalar")
    return node


def _own(node: Node | None, path: Path) -> None:
    if isinstance(node, Alias):
        raise Refused(f"{shown(path)} is the alias *{node.anchor}; edit the anchor instead", reason="target_shared")
    if node is not None and node.aliases:
        raise Refused(
            f"{shown(path)} lies in &{node.anchor}, which {node.aliases} other places use", reason="target_shared"
        )


def child(node: Node | None, step: str | int) -> Node:
    """What a node has under a key or index. Raises Refused: missing, doubled, or merged in from elsewhere."""
    if isinstance(node, Alias):
        raise Refused(f"{step} lies behind the alias *{node.anchor}", reason="target_shared")
    if isinstance(step, int):
        if not isinstance(node, Sequence) or step >= len(node.items):
            raise Refused(f"there is no item [{step}]", reason="target_missing")
        return node.items[step]
    values = entries(node, step)
    if len(values) > 1:
        raise Refused(f"the key {step!r} is there {len(values)} times", reason="target_ambiguous")
    if not values and entries(node, MERGE):
        raise Refused(
            f"the key {step!r} is not here; a merge key may bring it in from elsewhere", reason="target_shared"
        )
    if not values:
        raise Refused(f"there is no key {step!r}", reason="target_missing")
    return values[0]


def entries(node: Node | None, key: str) -> list[Node]:
    """Every value that a mapping has under one key."""
    if not isinstance(node, Mapping):
        return []
    return [value for name, value in node.entries if isinstance(name, Scalar) and name.value == key]


def text(node: Node | None, key: str) -> str | None:
    """The scalar text under a key; None when there is none, or more than one."""
    values = entries(node, key)
    return values[0].value if len(values) == 1 and isinstance(values[0], Scalar) else None


def scalars(file: Parsed) -> Iterator[tuple[Path, Scalar]]:
    """Every scalar that is a value, with its path, in the order of the file."""
    for number, root in enumerate(file.documents):
        yield from _below(root, (number,))


def _below(node: Node | None, path: Path) -> Iterator[tuple[Path, Scalar]]:
    if isinstance(node, Scalar):
        yield path, node
    elif isinstance(node, Sequence):
        for index, item in enumerate(node.items):
            yield from _below(item, (*path, index))
    elif isinstance(node, Mapping):
        for key, value in node.entries:
            if isinstance(key, Scalar):
                yield from _below(value, (*path, key.value))


def _matching(node: Node | None, wanted: tuple[str, str]) -> int:
    key, value = wanted
    items = node.items if isinstance(node, Sequence) else []
    found = [index for index, item in enumerate(items) if text(item, key) == value]
    if len(found) > 1:
        raise Refused(f"{len(found)} items have {key}={value}", reason="target_ambiguous")
    if not found:
        raise Refused(f"no item has {key}={value}", reason="target_missing")
    return found[0]
