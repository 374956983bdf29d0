"""Tokens for machines as lines of text."""

from __future__ import annotations

import datetime

from console.texts import age, printable
from console.views import Value, table

HEADER = ("ID", "NAME", "MAY", "STATUS", "USED", "EXPIRES", "BY")
MORE = ("ACTS AS", "MADE", "USED AT", "REVOKED")


def tokens(answer: Value, now: datetime.datetime, *, wide: bool = False) -> str:
    """``token list``; ``wide`` adds who the token is in decisions, and its times in full."""
    rows = [[*_row(one, now), *(_more(one) if wide else ())] for one in answer["tokens"]]
    return table([*HEADER, *(MORE if wide else ())], rows)


def _row(one: Value, now: datetime.datetime) -> list[str]:
    status = "revoked" if one["revoked_at"] else "active" if one["active"] else "expired"
    used = age(one["used_at"], now) if one["used_at"] else "never"
    return [one["id"], printable(one["name"]), _scope(one), status, used, one["expires_at"], printable(one["by"])]


def _more(one: Value) -> list[str]:
    return [one["acts_as"] or "-", one["created_at"], one["used_at"] or "-", one["revoked_at"] or "-"]


def _scope(one: Value) -> str:
    found = [
        f"{grant['role']} {'/'.join(part for part in (grant['project'], grant['environment']) if part) or 'everything'}"
        for grant in one["grants"]
    ]
    return ", ".join(found) or f"as {printable(one['acts_as'])}"
