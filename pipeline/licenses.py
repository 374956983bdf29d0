"""SPDX licence expressions, as far as a deny-list needs them: which choices does an expression leave?

Follows the expression grammar of SPDX 2.3, annex D; what is no expression is taken as one licence with that name.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_TOKEN = re.compile(r"\(|\)|[^\s()]+")
_MOST = 64
_LONGEST = 256

Choices = frozenset[frozenset[str]]


def allowed(expression: str, denied: Callable[[str], bool]) -> bool:
    """True when some choice that ``expression`` leaves has no denied licence in it."""
    return any(not any(denied(name) for name in choice) for choice in choices(expression))


def choices(expression: str) -> Choices:
    """The ways to fulfil ``expression``, each the set of licences that then hold together."""
    tokens = _TOKEN.findall(expression)
    found, rest = _either(tokens, 0) if len(tokens) <= _LONGEST else (frozenset(), 0)
    if rest != len(tokens) or not found or len(found) > _MOST:
        return frozenset({frozenset({expression.strip()})})
    return found


def _either(tokens: list[str], at: int) -> tuple[Choices, int]:
    found, at = _both(tokens, at)
    while at < len(tokens) and tokens[at].upper() == "OR":
        other, at = _both(tokens, at + 1)
        found = found | other if other else frozenset()
    return found, at


def _both(tokens: list[str], at: int) -> tuple[Choices, int]:
    found, at = _one(tokens, at)
    while at < len(tokens) and tokens[at].upper() == "AND":
        other, at = _one(tokens, at + 1)
        if len(found) * len(other) > _MOST:
            return frozenset(), at
        found = frozenset(one | two for one in found for two in other)
    return found, at


def _one(tokens: list[str], at: int) -> tuple[Choices, int]:
    if at >= len(tokens) or tokens[at] == ")" or tokens[at].upper() in {"AND", "OR", "WITH"}:
        return frozenset(), at
    if tokens[at] == "(":
        found, at = _either(tokens, at + 1)
        closed = at < len(tokens) and tokens[at] == ")"
        return (found, at + 1) if closed else (frozenset(), at)
    name, at = tokens[at], at + 1
    if at + 1 < len(tokens) and tokens[at].upper() == "WITH":
        name, at = f"{name} WITH {tokens[at + 1]}", at + 2
    return frozenset({frozenset({name})}), at
