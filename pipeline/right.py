"""What a right is: a pattern of subjects, as NATS reads it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

OWN_RIGHTS: Final = "$SYS.REQ.USER.INFO"
"""Where every user may ask what it may."""
Patterns = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Rights:
    """What a user may: patterns of subjects that it publishes to and listens on. ``never`` wins over ``publish``."""

    publish: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    listen: tuple[str, ...] = ()

    @cached_property
    def _publish(self) -> Patterns:
        return _split(self.publish)

    @cached_property
    def _never(self) -> Patterns:
        return _split(self.never)

    def may_publish(self, subject: str) -> bool:
        """Whether a message may go there."""
        parts = subject.split(".")
        return _any(self._publish, parts) and not _any(self._never, parts)

    def may_listen(self, subject: str) -> bool:
        """Whether that subject, which may be a pattern itself, may be listened on."""
        return covered(self.listen, subject)


def inbox(user: str) -> str:
    """The prefix of the subjects that answers to ``user`` come to, and to nobody else."""
    return f"_INBOX_{user}"


def covered(patterns: Iterable[str], subject: str) -> bool:
    """Whether one of the patterns holds all that ``subject`` stands for, which may be a pattern itself."""
    return _any(_split(patterns), subject.split("."))


def _split(patterns: Iterable[str]) -> Patterns:
    return tuple(tuple(pattern.split(".")) for pattern in patterns)


def _any(patterns: Patterns, subject: Sequence[str]) -> bool:
    return any(_covers(pattern, subject) for pattern in patterns)


def _covers(pattern: Sequence[str], subject: Sequence[str]) -> bool:
    """As NATS reads a pattern; a subject that is one itself is covered when all that it stands for is."""
    for place, part in enumerate(pattern):
        if part == ">":
            return len(subject) > place
        if place >= len(subject) or part not in ("*", subject[place]) or subject[place] == ">":
            return False
    return len(pattern) == len(subject)
