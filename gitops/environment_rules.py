"""``promotion``, ``freeze``, ``rollback`` and ``roles`` of an environment, and the ``roles`` of a whole project."""

from __future__ import annotations

from gitops.fields import PROJECT
from gitops.rules import freeze
from pipeline import names, parsing
from pipeline.access import ROLES
from pipeline.errors import Invalid
from pipeline.promotions import AutomaticRollback, FreezeWindow, PromotionRule

KEYS = frozenset({"promotion", "freeze", "rollback", "roles"})
WAYS = ("commit", "pull-request")
MOST = 100
_PROMOTION = frozenset({"from", "soak", "approvals", "approvers", "by", "checks"})
_ROLLBACK = frozenset({"automatic", "within"})


def promotion(item: object, where: str) -> PromotionRule | None:
    """The promotion's gates; None when the file has none. Raises Invalid, which names the field."""
    if item is None:
        return None
    fields = PROJECT.mapping(item, where, _PROMOTION)
    source, by = fields.get("from", ""), fields.get("by", "")
    if source:
        _name(source, f"{where}.from")
    if by not in ("", *WAYS):
        raise PROJECT.wrong(f"{where}.by", "must be commit or pull-request")
    approvals = fields.get("approvals", 0)
    if not isinstance(approvals, int) or isinstance(approvals, bool) or not 0 <= approvals <= MOST:
        raise PROJECT.wrong(f"{where}.approvals", f"must be a whole number up to {MOST}")
    return PromotionRule(
        source=source,
        soak=_seconds(fields.get("soak", "0s"), f"{where}.soak"),
        approvals=approvals,
        approvers=PROJECT.names(fields.get("approvers"), f"{where}.approvers"),
        by=by,
        checks=PROJECT.names(fields.get("checks"), f"{where}.checks"),
    )


def windows(item: object, where: str) -> tuple[FreezeWindow, ...]:
    """The freeze windows. Raises Invalid, which names the field."""
    return tuple(freeze.parse(one, f"{where}[{index}]") for index, one in enumerate(PROJECT.items(item, where)))


def rollback(item: object, where: str) -> AutomaticRollback | None:
    """The automatic rollback; None unless it is asked for. Raises Invalid, which names the field."""
    fields = PROJECT.mapping(item, where, _ROLLBACK)
    automatic = PROJECT.switch(fields.get("automatic", False), f"{where}.automatic")
    within = _seconds(fields.get("within", "20m"), f"{where}.within")
    return AutomaticRollback(within=within) if automatic else None


def roles(item: object, where: str = "roles") -> dict[str, tuple[str, ...]]:
    """Role → its people. Raises Invalid, which names the field."""
    found = PROJECT.mapping(item, where).items()
    return {_name(key, f"{where}.{str(key)[:60]}"): PROJECT.names(value, f"{where}.{key}") for key, value in found}


def environment_roles(item: object, where: str) -> dict[str, tuple[str, ...]]:
    """Viewer, deployer, admin → who is that in this environment. Raises Invalid, which names the field."""
    PROJECT.mapping(item, where, frozenset(ROLES))
    return roles(item, where)


def _seconds(value: object, where: str) -> float:
    if value in ("0", 0, "0s") and not isinstance(value, bool):
        return 0.0
    try:
        return parsing.duration(str(value))
    except ValueError:
        raise PROJECT.wrong(where, "must be a duration such as 90s, 15m or 1h") from None


def _name(value: object, where: str) -> str:
    try:
        return names.name(str(value))
    except Invalid as error:
        raise PROJECT.wrong(where, error.message) from None
