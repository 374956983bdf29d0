"""Commit objects as bytes: written for a draft, read back as values whoever wrote them."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

from gitops import trailers
from gitops.committing.edits import COMMITTER, Commit, Draft, author

_PERSON = re.compile(r"(.*?) ?<(.*)> (-?\d+) [+-]\d+")


Sign = Callable[[bytes], bytes]
"""The armoured signature of a commit's bytes."""


def encode(draft: Draft, *, tree: str, parent: str, sign: Sign | None = None) -> bytes:
    """The commit of a draft: its author wrote it, Enclii committed it, at the draft's time in UTC, and signed it."""
    seconds = int(datetime.fromisoformat(draft.at).timestamp())
    lines = [f"tree {tree}", *([f"parent {parent}"] if parent else [])]
    for role, (name, address) in (("author", author(draft.author)), ("committer", COMMITTER)):
        lines.append(f"{role} {name} <{address}> {seconds} +0000")
    data = ("\n".join([*lines, "", ""]) + draft.message).encode()
    return with_signature(data, sign(data)) if sign is not None else data


def with_signature(commit: bytes, signature: bytes) -> bytes:
    """The commit with the signature as the last of its headers, where git looks for it."""
    head, separator, message = commit.partition(b"\n\n")
    return head + b"\ngpgsig " + signature.rstrip(b"\n").replace(b"\n", b"\n ") + separator + message


def tree_of(data: bytes) -> str:
    """The id of the commit's tree."""
    return data[5:45].decode()


def decode(oid: str, data: bytes) -> Commit:
    """The commit as a value; the trailers are those of a commit that Enclii wrote."""
    head, _, message = _text(data).partition("\n\n")
    fields = [(key, value) for key, blank, value in (line.partition(" ") for line in head.split("\n")) if key and blank]
    said = dict(reversed(fields))  # the first of a name counts
    name, _, _ = _person(said.get("author", ""))
    *committer, seconds = _person(said.get("committer", ""))
    found = trailers.parse(message)
    ours = tuple(committer) == COMMITTER and "Intent" in found
    return Commit(
        id=oid,
        parents=tuple(value for key, value in fields if key == "parent"),
        author=trailers.one_line(name, 100),
        subject=trailers.one_line(message.partition("\n")[0], trailers.SUBJECT_LIMIT),
        at=_time(seconds),
        trailers=found if ours else {},
    )


def _text(data: bytes) -> str:
    said = re.search(rb"^encoding (\S+)$", data.partition(b"\n\n")[0], re.MULTILINE)
    try:
        return data.decode(said[1].decode("ascii", "replace") if said else "utf-8", "replace")
    except LookupError:
        return data.decode("utf-8", "replace")


def _person(text: str) -> tuple[str, str, int]:
    found = _PERSON.fullmatch(text)
    return (found[1], found[2], int(found[3])) if found else (text, "", 0)


def _time(seconds: int) -> str:
    try:
        at = datetime.fromtimestamp(seconds, tz=UTC)
    except (ValueError, OverflowError, OSError):  # a person may have written any number
        at = datetime.fromtimestamp(0, tz=UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
