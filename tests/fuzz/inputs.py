"""Sound inputs, broken: bytes changed, cut, doubled and put in, and values of a document exchanged for worse ones."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

fuzzed = settings(
    deadline=None, database=None, suppress_health_check=list(HealthCheck),
    derandomize=settings.get_current_profile_name() != "fuzz",
)  # fmt: skip
"""A few inputs, the same ones in each run of the suite; many, and other ones, with the profile ``fuzz``."""

PIECES = st.sampled_from([
    b"", b"\x00", b"\xff", b"\xed\xa0\x80", b"{", b"}", b"[", b"]", b'"', b":", b",", b"\n", b"\t", b"- ", b"&a ",
    b"*a",    b"!!python/object:os.system ", b"<<: ", b"? ", b"null", b"-1", b"1e999", b"NaN", b"\\ud800", b"{" * 900,
    b"[" * 3_000,
])  # fmt: skip
WORSE: st.SearchStrategy[Any] = st.sampled_from([
    None, True, 0, -1, 1e308, 1 << 63, 1 << 200, "", " ", "..", "../../etc/passwd", "-x", "a\x00b", "a\nb", "\u202e",
    "\ud800", "refs/heads/../x", "refs/heads/-x", "0" * 40, "f" * 40, "a" * 5_000, "group:admins", "$(id)", [], {},
    [[]], [None], {"": None}, ["a"] * 300,
]) | st.text(max_size=20)  # fmt: skip


def broken(sound: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """One of them with up to three places changed."""
    edit = st.tuples(st.integers(0, 1 << 16), st.sampled_from((0, 1, 1, 4, 40)), PIECES | st.binary(max_size=4))
    return st.builds(_edited, st.sampled_from(sound), st.lists(edit, min_size=1, max_size=3))


def _edited(sound: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    data = bytearray(sound)
    for place, length, piece in edits:
        at = place % (len(data) + 1)
        data[at : at + length] = piece
    return bytes(data)


def worsened(sound: Sequence[Any]) -> st.SearchStrategy[Any]:
    """One of these documents with up to three of its values replaced or taken out."""
    change = st.tuples(st.integers(0, 1 << 16), WORSE | st.just(st.nothing))
    return st.builds(_changed, st.sampled_from(sound), st.lists(change, min_size=1, max_size=3))


def _changed(sound: Any, changes: list[tuple[int, Any]]) -> Any:
    document = copy.deepcopy(sound)
    for number, value in changes:
        if places := list(_places(document)):
            inside, key = places[number % len(places)]
            if value is st.nothing:
                del inside[key]
            else:
                inside[key] = copy.deepcopy(value)
    return document


def _places(document: Any) -> Any:
    inner = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in list(inner):
        yield document, key
        yield from _places(value)


def documents(sound: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """JSON texts that are broken as bytes, or sound JSON that says something worse."""
    return broken(sound) | worsened([json.loads(one) for one in sound]).map(lambda one: json.dumps(one).encode())
