"""Builds as lines of text: a row each, or one with every step."""

from __future__ import annotations

import datetime

from console.build_texts import cached, explained, took
from console.texts import failure, printable, version
from console.views import Value, table, when


def builds(answer: Value, now: datetime.datetime, *, relative: bool) -> str:
    """``builds``: one line each."""
    rows = [
        [
            one["run"], one["service"], version(one["release"]) if one["release"] else "-", one["sha"][:7],
            "reused" if one["reused"] else one["status"], took(one), cached(one),
            when(one["started_at"], now, relative=relative),
        ]
        for one in answer["builds"]
    ]  # fmt: skip
    return table(("RUN", "SERVICE", "REL", "COMMIT", "STATUS", "TOOK", "CACHE", "WHEN"), rows)


def build(one: Value) -> str:
    """One build: why it took as long as it did, step by step."""
    lines = [f"{one['service']} of run {one['run']}  {one['status']}  {one['sha'][:7]}", *explained(one)]
    steps = [
        ["cached" if step["cached"] else "failed" if step["failed"] else f"{step['seconds']:.1f}s", step["name"]]
        for step in one["steps"]
    ]
    told = table(("TIME", "STEP"), steps) if steps else ""
    return "\n".join([*map(printable, lines), *map(printable, failure(one)), *([told] if told else [])])
