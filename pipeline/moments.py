"""Times as forges write them: RFC 3339 with any offset and fraction, and GitLab's ``2017-12-10 17:01:11 UTC``."""

from __future__ import annotations

import datetime
import re

_ZONE = re.compile(r" ?(?:UTC|Z)$")
_OFFSET = re.compile(r" ([+-][0-9]{2}):?([0-9]{2})$")


def moment(text: str) -> datetime.datetime | None:
    """The moment; None for what is no time. A time without zone is UTC."""
    plain = _OFFSET.sub(r"\1:\2", _ZONE.sub("+00:00", text.strip()))
    try:
        found = datetime.datetime.fromisoformat(plain)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)


def before(one: str, other: str) -> bool:
    """True when one moment is strictly earlier than another; False also where one of them is no time."""
    first, second = moment(one), moment(other)
    return first is not None and second is not None and first < second
