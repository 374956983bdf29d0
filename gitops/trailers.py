"""Commit messages that machines can read back: a subject, an optional reason, and trailers in the last paragraph.

Only the last paragraph counts and every value is one line, so nothing that a person typed can pose as a trailer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

PREFIX = "Enclii-"
ARGOCD = "Argocd-reference-commit-"
NOTHING: Mapping[str, str] = {}
REPEATED = frozenset({"Member"})
"""Trailers that stand once for each member of a set; their values are joined by line breaks."""
SUBJECT_LIMIT = 120
_TRAILER = re.compile(r"Enclii-([A-Z][A-Za-z]*): (.*)")
_POSES = re.compile(f"{PREFIX}[A-Z]|{ARGOCD}")
_BLANKS = re.compile(r"[\s\x00-\x1f\x7f\x85\u2028\u2029]+")


def one_line(text: str, limit: int = 1_000) -> str:
    """``text`` without line breaks, control characters and outer blanks."""
    return _BLANKS.sub(" ", text).strip()[:limit]


def render(subject: str, trailers: Mapping[str, str], *, why: str = "", reference: Mapping[str, str] = NOTHING) -> str:
    """The whole message; a trailer with an empty value is left out.

    ``reference`` says which commit of an application this one brings, in the form that Argo CD reads and shows.
    """
    lines = [f"{PREFIX}{key}: {one_line(value)}" for key, text in trailers.items() for value in _values(key, text)]
    lines += [f"{ARGOCD}{key}: {one_line(value)}" for key, value in reference.items() if value]
    # A reason that looks like a trailer is indented, so that it is no trailer in anybody's reading.
    reason = one_line(why)
    said = [f"  {reason}" if _POSES.match(reason) else reason] if reason else []
    return "\n\n".join([one_line(subject, SUBJECT_LIMIT), *said, "\n".join(lines)]).rstrip() + "\n"


def added(message: str, key: str, value: str) -> str:
    """A message of Enclii's own with one more trailer; the message itself when the value is empty."""
    return f"{message.rstrip()}\n{PREFIX}{key}: {one_line(value)}\n" if value else message


def parse(message: str) -> dict[str, str]:
    """The trailers of a message's last paragraph, without their prefix; the first of a name counts, or all of it."""
    paragraphs = message.replace("\r\n", "\n").rstrip().split("\n\n")
    if len(paragraphs) < 2:
        return {}
    found: dict[str, str] = {}
    for line in paragraphs[-1].split("\n"):
        if match := _TRAILER.fullmatch(line.rstrip()):
            key, value = match[1], match[2].strip()
            if key in found and key in REPEATED:
                found[key] += f"\n{value}"
            found.setdefault(key, value)
    return found


def _values(key: str, text: str) -> list[str]:
    return [value for value in (text.split("\n") if key in REPEATED else [text]) if value]
