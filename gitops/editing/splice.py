"""Replaces scalars inside a YAML file by their own bytes, and proves that nothing else changed.

The result is parsed again and compared, value by value, with what was there: exactly the intended values may differ.
Whatever does not come out exactly so is refused; nothing is ever dumped.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from collections.abc import Mapping as Of
from dataclasses import dataclass
from itertools import pairwise

from gitops.editing import spans, yamlpath
from gitops.editing.spans import Parsed, Scalar
from gitops.editing.yamldiff import differences, is_plain, is_text
from gitops.editing.yamlpath import Path, shown
from pipeline.errors import EncliiError, Refused

SHOWN_LINES = 20
_PROPERTIES = re.compile(r"(?:[&!]\S*(?:[ \t\r\n]+(?:#[^\r\n]*[ \t\r\n]+)*|$))*")
_BLOCK = re.compile(
    r"(?P<head>[|>][1-9]?-[1-9]?[ \t]*(?:#[^\r\n]*)?(?:\r\n|\n|\r)[ ]*)(?P<line>[^\s][^\r\n]*)(?P<rest>\s*)", re.ASCII
)
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


@dataclass(frozen=True)
class Former:
    """A value in the very bytes that another version of the file has for it; ``glued``: nothing before them."""

    value: str
    raw: str
    glued: bool = False


def former(file: Parsed, path: Path) -> Former:
    """The value at ``path``, to be put back later byte for byte. Raises Refused."""
    node = yamlpath.scalar(file, path)
    glued = node.start == node.end and not file.text[node.start - 1 : node.start].isspace()
    return Former(node.value, file.text[node.start : node.end], glued)


def splice(file: Parsed, wanted: Of[Path, str | Former]) -> bytes:
    """The file with the value of each path replaced, and every byte outside of these values as it was.

    A text is written so that it is read as a text. Raises Refused, with what differs, when that cannot be done exactly.
    """
    edits: list[tuple[int, int, str]] = []
    intended: dict[Path, tuple[str, str]] = {}
    for path, new in wanted.items():
        node = yamlpath.scalar(file, path)
        if (edit := _edit(file.text, node, new)) is not None:
            edits.append(edit)
            intended[path] = (node.value, new.value if isinstance(new, Former) else new)
    if not edits:
        return file.encoded(file.text)
    data = file.encoded(_spliced(file.text, edits))
    prove(file, data, intended, texts=[path for path, new in wanted.items() if isinstance(new, str)])
    return data


def _edit(text: str, node: Scalar, new: str | Former) -> tuple[int, int, str] | None:
    """Where, up to where, and what is written; None when it is there already."""
    if isinstance(new, str):
        if node.value == new and is_text(node):
            return None
        return node.start, node.end, written(text, node, new)
    if text[node.start : node.end] == new.raw:
        return None
    gap = new.glued and text[node.start - 1 : node.start] == " "
    return node.start - gap, node.end, new.raw


def prove(file: Parsed, new: bytes, intended: Of[Path, tuple[str, str]], *, texts: Iterable[Path] = ()) -> None:
    """Raises Refused, with the difference, unless ``new`` differs from ``file`` in exactly the intended values."""
    try:
        after = spans.parse(new)
        found = {one.path: (one.old, one.new) for one in differences(file, after)}
        # Other quotes alone mean another thing only where they make a text of a number, or the other way round.
        expected = {path: pair for path, pair in intended.items() if path in found or pair[0] != pair[1]}
        readable = all(is_text(yamlpath.scalar(after, path)) for path in texts)
    except EncliiError as error:
        raise _inexact(error.message, file, new) from error
    if found != expected:
        wrong = sorted({shown(path) for path in {*found, *expected} if found.get(path) != expected.get(path)})
        raise _inexact(f"not exactly the intended values would change: {', '.join(wrong)[:300]}", file, new)
    if not readable:
        raise _inexact("a new value would not be read as text", file, new)


def _inexact(why: str, file: Parsed, new: bytes) -> Refused:
    old = file.text.splitlines()
    lines = list(difflib.unified_diff(old, new.decode(errors="replace").splitlines(), lineterm="", n=0))[2:]
    return Refused("\n".join([f"the edit is not written: {why}", *lines[:SHOWN_LINES]]), reason="edit_not_exact")


def _spliced(text: str, edits: Iterable[tuple[int, int, str]]) -> str:
    ordered = sorted(edits)
    if any(former_end > start for (_, former_end, _), (start, _, _) in pairwise(ordered)):
        raise Refused("two edits overlap", reason="edit_not_exact")
    for start, end, new in reversed(ordered):
        text = text[:start] + new + text[end:]
    return text


def written(text: str, node: Scalar, new: str) -> str:
    """The scalar's own text with its value replaced: anchor, tag, quotes and block header stay. Raises Refused."""
    whole = text[node.start : node.end]
    kept = whole[: _PROPERTIES.match(whole).end()]  # type: ignore[union-attr]  # it matches the empty text
    if node.style in ("|", ">"):
        return kept + _in_block(whole[len(kept) :], new)
    if node.style == "'" and new.isprintable():
        return kept + "'" + new.replace("'", "''") + "'"
    quoted = _plain_or_quoted(new) if not node.style else _quoted(new)
    if node.start == node.end or kept == whole:
        # An empty value begins right behind its colon, dash or anchor.
        before = text[node.end - 1 : node.end]
        return kept + ("" if before in (" ", "\t", "\n", "") else " ") + quoted
    return kept + quoted


def _in_block(raw: str, new: str) -> str:
    found = _BLOCK.fullmatch(raw)
    if found is None or not new.isprintable() or new != new.strip() or not new:
        raise Refused("a block scalar of several lines, or with a line break at its end, is not edited",
                      reason="target_not_scalar")  # fmt: skip
    return found["head"] + new + found["rest"]


def _plain_or_quoted(new: str) -> str:
    return new if is_plain(new) else _quoted(new)


def _quoted(new: str) -> str:
    return '"' + "".join(_ESCAPES.get(char) or (char if char.isprintable() else _code(char)) for char in new) + '"'


def _code(char: str) -> str:
    number = ord(char)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
