"""What a request's query says, field by field; what is not understood is refused by its name."""

from __future__ import annotations

import datetime
from typing import Final

from starlette.requests import Request

from pipeline.errors import Invalid

LIST_LIMIT: Final = 200


def scope(request: Request) -> tuple[str, str, str]:
    """Project, environment and service, each possibly empty."""
    query = request.query_params
    return query.get("project", ""), query.get("environment", ""), query.get("service", "")


def whole(request: Request, name: str, default: int, most: int) -> int:
    """A whole number, no more than ``most``. Raises Invalid."""
    text = request.query_params.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise Invalid(f"{name}: a whole number", reason="bad_field")
    return min(int(text), most)


def limit(request: Request, default: int) -> int:
    """How many entries a page shall have: at least one. Raises Invalid."""
    return max(1, whole(request, "limit", default, LIST_LIMIT))


def flag(request: Request, name: str) -> bool:
    """True for ``true`` and ``1``, False for ``false``, ``0`` and nothing. Raises Invalid for anything else."""
    text = request.query_params.get(name, "").lower()
    if text not in {"true", "1", "false", "0", ""}:
        raise Invalid(f"{name}: true or false", reason="bad_field")
    return text in {"true", "1"}


def moment(request: Request, name: str) -> datetime.datetime | None:
    """A time as RFC 3339. Raises Invalid."""
    text = request.query_params.get(name, "")
    try:
        found = datetime.datetime.fromisoformat(text) if text else None
        found = found.replace(tzinfo=datetime.UTC) if found and not found.tzinfo else found
        return found.astimezone(datetime.UTC) if found else None
    except (ValueError, OverflowError) as error:
        raise Invalid(f"{name}: a time as RFC 3339", reason="bad_field") from error
