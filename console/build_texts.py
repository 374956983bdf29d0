"""What a build's report says in words: where it came from, what the cache had, what was left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from console.texts import moment, seconds_between, span


def explained(one: Mapping[str, Any]) -> Iterator[str]:
    """What a build's report says in words."""
    if one["reused"]:
        yield f"  nothing was built: run {one['log_run']} built the same inputs"
    elif one["builder"]:
        spent = f" in {took(one)}" if one["finished_at"] else ""
        yield f"  built by {one['builder']}{spent}; {cached(one)} steps from the cache"
    if one["first_built"]:
        yield f"  first step that the cache did not have: {one['first_built']}"
    if one["dropped"]:
        yield f"  {one['dropped']} bytes of output were left out"


def cached(one: Mapping[str, Any]) -> str:
    """``4/6``: steps from the cache of all that the sources asked for."""
    return f"{one['cached_steps']}/{one['own_steps']}" if one["own_steps"] else "-"


def took(one: Mapping[str, Any]) -> str:
    """How long the build stage was."""
    end = moment(one["finished_at"])
    seconds = seconds_between(one["started_at"], end) if one["started_at"] and end else None
    return "-" if seconds is None else f"{seconds:.1f}s" if seconds < 60 else span(seconds)
