"""The audit as lines of text."""

from __future__ import annotations

import datetime

from console.texts import age, printable
from console.views import Value, table

HEADER = ("AGE", "WHO", "BY", "ROLE", "WHAT", "WHERE", "RESULT", "REASON")
MORE = ("AT", "ID", "TRACE", "MESSAGE")


def audit(answer: Value, now: datetime.datetime, *, wide: bool = False) -> str:
    """``audit``: newest first; ``wide`` says when exactly, which command or delivery, its trace, and what was told."""
    rows = [[*_row(one, now), *(_more(one) if wide else ())] for one in answer["audit"]]
    return table([*HEADER, *(MORE if wide else ())], rows)


def _row(one: Value, now: datetime.datetime) -> list[str]:
    where = "/".join(part for part in (one["project"], one["environment"], one["service"]) if part)
    return [
        age(one["at"], now), printable(one["who"]) or "-", one["way"], one["role"] or "-", printable(one["what"]),
        where or "-", one["result"], one["reason"] or "-",
    ]  # fmt: skip


def _more(one: Value) -> list[str]:
    return [one["at"], one["id"], one["trace"] or "-", one["message"] or "-"]
