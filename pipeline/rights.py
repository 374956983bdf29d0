"""The rights of NATS users, made of what the processes need (needs.py), and compared with what a user really has.

A right is a subject pattern. Writing is granted by subject, reading single messages by stream; replays and durable
consumers by their filter, which is in the subject of the request that makes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pipeline.entries import stream_of
from pipeline.needs import ALL_STREAMS, BACKUP, NEEDS, SETUP, Needs, Takes, subject_of
from pipeline.right import OWN_RIGHTS, Rights, covered, inbox

API: Final = "$JS.API."
USERS: Final = (*NEEDS, SETUP, BACKUP)


def rights_of(user: str) -> Rights:
    """The rights of a process's user, of the one who makes streams, or of the one who makes backups.

    Raises KeyError for another.
    """
    if user == SETUP:
        return _structure()
    if user == BACKUP:
        return _backup()
    return made(NEEDS[user])


def made(needs: Needs) -> Rights:
    """The rights that ``needs`` asks for."""
    replayed = {stream_of(one) for one in needs.replayed}
    publish = [
        OWN_RIGHTS,
        *(f"st.{kind.kind}.*" for kind in needs.writes),
        *(subject_of(kind) for kind in needs.publishes),
        *needs.appends,
        *needs.asks,
        *(f"{API}{call}" for call in needs.api),
        *(f"{API}STREAM.MSG.GET.{name}" for name in needs.streams),
        *(right for one in needs.takes for right in _taken(one)),
        *(f"{API}CONSUMER.CREATE.{stream_of(one)}.*.{one}" for one in needs.replayed),
        *(f"{API}CONSUMER.{call}.{name}.*" for name in sorted(replayed) for call in ("MSG.NEXT", "DELETE")),
    ]
    heard = (f"{inbox(needs.process)}.>", *needs.answers)
    return Rights(tuple(dict.fromkeys(publish)), _others(needs, replayed), heard)


def _taken(one: Takes) -> tuple[str, ...]:
    return (
        f"{API}CONSUMER.CREATE.{one.stream}.{one.name}" + (f".{one.subjects[0]}" if len(one.subjects) == 1 else ""),
        f"{API}CONSUMER.MSG.NEXT.{one.stream}.{one.name}",
        f"$JS.ACK.{one.stream}.{one.name}.>",
    )


def _others(needs: Needs, replayed: Iterable[str]) -> tuple[str, ...]:
    """Who may make and read nameless consumers of a stream must not touch those that have a process's name."""
    return tuple(
        f"{API}CONSUMER.{call}"
        for other in NEEDS.values()
        for one in other.takes
        if one.stream in replayed
        for call in _calls(one, own=other.process == needs.process)
    )


def _calls(one: Takes, *, own: bool) -> tuple[str, ...]:
    place = f"{one.stream}.{one.name}"
    made_again = () if own else (f"CREATE.{place}.>", f"MSG.NEXT.{place}")
    return (*made_again, f"DELETE.{place}")


def _structure() -> Rights:
    """Who makes the streams, and nothing in them."""
    calls = [f"{API}STREAM.{call}.{name}" for name in ALL_STREAMS for call in ("CREATE", "UPDATE", "INFO")]
    return Rights((OWN_RIGHTS, *calls), (), (f"{inbox(SETUP)}.>",))


def _backup() -> Rights:
    """Who copies the streams out and in, whole."""
    calls = [f"{API}STREAM.{call}.{name}" for name in ALL_STREAMS for call in ("SNAPSHOT", "RESTORE", "INFO", "DELETE")]
    consumers = [f"{API}CONSUMER.{call}" for name in ALL_STREAMS for call in (f"LIST.{name}", f"PAUSE.{name}.*")]
    return Rights((OWN_RIGHTS, *calls, *consumers, "$JS.SNAPSHOT.>"), (), (f"{inbox(BACKUP)}.>",))


@dataclass(frozen=True)
class Difference:
    """How a user's rights differ from what the code needs; empty when they do not."""

    user: str
    few: tuple[str, ...] = ()
    many: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.few or self.many)

    def told(self) -> str:
        """In words, for a person."""
        few = f"may not, though it must: {', '.join(self.few)}" if self.few else ""
        many = f"may, though it need not: {', '.join(self.many)}" if self.many else ""
        return f"NATS user {self.user} " + "; ".join(part for part in (few, many) if part)


def difference(user: str, told: Mapping[str, Any]) -> Difference:
    """What ``user`` has too few or too many of, by what the server says of it.

    ``told`` has the form of ``permissions`` in NATS' own answer at ``$SYS.REQ.USER.INFO`` and in its configuration:
    ``{"publish": {"allow": […], "deny": […]}, "subscribe": {"allow": […], "deny": […]}}``. A missing part, or an
    empty ``told``, grants everything, as NATS reads it. Raises KeyError for a user that there is none of.
    """
    wanted = rights_of(user)
    sides = (
        ("publish", wanted.publish, wanted.never, told.get("publish") or {}),
        ("listen on", wanted.listen, (), told.get("subscribe") or {}),
    )
    few, many = [], []
    for how, needed, never, given in sides:
        allowed, denied = _list(given, "allow") or [">"], _list(given, "deny")
        few += [f"{how} {one}" for one in needed if not covered(allowed, one) or covered(denied, one)]
        many += [f"{how} {one}" for one in allowed if not covered(needed, one)]
        many += [f"{how} {one}" for one in never if not covered(denied, one)]
    return Difference(user, tuple(few), tuple(many))


def _list(given: Mapping[str, Any], key: str) -> list[str]:
    found = given.get(key) or []
    return [found] if isinstance(found, str) else [str(one) for one in found]
