"""``promotion``, ``freeze`` and ``rollback`` of an environment in ``project.yaml``, and the file's ``roles``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gitops.rules import freeze
from pipeline import names, parsing
from pipeline.errors import Invalid
from pipeline.promotions import AutomaticRollback, FreezeWindow, PromotionRule

KEYS = frozenset({"promotion", "freeze", "rollback"})
WAYS = ("commit", "pull-request")
MOST = 100
_PROMOTION = frozenset({"from", "soak", "approvals", "approvers", "by", "checks"})
_ROLLBACK = frozenset({"automatic", "within"})


def promotion(item: object, where: str) -> PromotionRule | None:
    """The promotion's gates; None when the file has none. Raises Invalid, which names the field."""
    if item is None:
        return None
    fields = _fields(item, where, _PROMOTION)
    source, by = fields.get("from", ""), fields.get("by", "")
    if source:
        _name(source, f"{where}.from")
    if by not in ("", *WAYS):
        raise _wrong(f"{where}.by", "must be commit or pull-request")
    approvals = fields.get("approvals", 0)
    if not isinstance(approvals, int) or isinstance(approvals, bool) or not 0 <= approvals <= MOST:
        raise _wrong(f"{where}.approvals", f"must be a whole number up to {MOST}")
    return PromotionRule(
        source=source,
        soak=_seconds(fields.get("soak", "0s"), f"{where}.soak"),
        approvals=approvals,
        approvers=_texts(fields.get("approvers"), f"{where}.approvers"),
        by=by,
        checks=_texts(fields.get("checks"), f"{where}.checks"),
    )


def windows(item: object, where: str) -> tuple[FreezeWindow, ...]:
    """The freeze windows. Raises Invalid, which names the field."""
    if item is None:
        return ()
    if not isinstance(item, list) or len(item) > MOST:
        raise _wrong(where, "must be a list of windows")
    return tuple(freeze.parse(one, f"{where}[{index}]") for index, one in enumerate(item))


def rollback(item: object, where: str) -> AutomaticRollback | None:
    """The automatic rollback; None unless it is asked for. Raises Invalid, which names the field."""
    fields = _fields(item, where, _ROLLBACK)
    automatic = fields.get("automatic", False)
    if not isinstance(automatic, bool):
        raise _wrong(f"{where}.automatic", "must be true or false")
    within = _seconds(fields.get("within", "20m"), f"{where}.within")
    return AutomaticRollback(within=within) if automatic else None


def roles(item: object, where: str = "roles") -> dict[str, tuple[str, ...]]:
    """Role → its people. Raises Invalid, which names the field."""
    if item is None:
        return {}
    if not isinstance(item, Mapping):
        raise _wrong(where, "must be a mapping of lists")
    return {_name(key, f"{where}.{str(key)[:60]}"): _texts(value, f"{where}.{key}") for key, value in item.items()}


def _fields(value: object, where: str, allowed: frozenset[str]) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise _wrong(where, "must be a mapping")
    for key in value:
        if key not in allowed:
            raise _wrong(where, f"has an unknown key {str(key)[:60]!r}")
    return value


def _seconds(value: object, where: str) -> float:
    if value in ("0", 0, "0s") and not isinstance(value, bool):
        return 0.0
    try:
        return parsing.duration(str(value))
    except ValueError:
        raise _wrong(where, "must be a duration such as 90s, 15m or 1h") from None


def _texts(value: object, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MOST:
        raise _wrong(where, "must be a list of names")
    for one in value:
        if not isinstance(one, str) or not one.strip() or not one.isprintable() or len(one) > 100:
            raise _wrong(where, "must be a list of names")
    return tuple(dict.fromkeys(value))


def _name(value: object, where: str) -> str:
    try:
        return names.name(str(value))
    except Invalid as error:
        raise _wrong(where, error.message) from None


def _wrong(where: str, what: str) -> Invalid:
    return Invalid(f"project.yaml: {where} {what}", reason="bad_project_file")
