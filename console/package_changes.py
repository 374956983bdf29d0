"""What an image has of packages that another has not: added, removed, or in another version."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Final

from pipeline.errors import EncliiError
from pipeline.registry_http import together

if TYPE_CHECKING:
    from gitops.gate.evaluation import Package

Packages = Callable[[str], Coroutine[Any, Any, "tuple[Package, ...]"]]
"""The packages of a release, by its signed SBOM. Raises NotFound, Refused, Unavailable."""
Value = dict[str, Any]
LIMIT: Final = 8.0
MOST: Final = 300


async def between(packages: Packages, before: str, after: str) -> Value:
    """``changes`` from one release to another, at most ``MOST`` of ``total``; or the ``problem`` of finding out.

    The comparison of what git and the store know is worth showing without this one.
    """
    try:
        async with asyncio.timeout(LIMIT):
            old, new = await together((packages(before), packages(after)))
    except TimeoutError:
        return _told([], f"the registry did not answer within {LIMIT:g} s")
    except EncliiError as error:
        return _told([], error.message)
    return _told(changes(old, new), "")


def _told(found: list[Value], problem: str) -> Value:
    return {"changes": found[:MOST], "total": len(found), "problem": problem}


def changes(before: Iterable[Package], after: Iterable[Package]) -> list[Value]:
    """By name; ``from`` is empty for one that was added, ``to`` for one that was removed."""
    old, new = _versions(before), _versions(after)
    return [
        {"name": name, "from": ", ".join(sorted(old.get(name, ()))), "to": ", ".join(sorted(new.get(name, ())))}
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]


def _versions(packages: Iterable[Package]) -> dict[str, set[str]]:
    """Each package's versions, for an image may have several; a purl says what kind of package it is."""
    found: dict[str, set[str]] = {}
    for one in packages:
        found.setdefault(_kind(one), set()).add(one.version or "no version")
    return found


def _kind(one: Package) -> str:
    named = one.purl.removeprefix("pkg:").partition("#")[0]
    head, at, _ = named.rpartition("@")
    return (head if at else named) or one.name
