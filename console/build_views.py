"""Builds as lines of text: a row each, or one with every step."""

from __future__ import annotations

import datetime

from console.build_texts import cached, explained, took
from console.texts import failure, printable, version
from console.views import Value, table, when


def builds(answer: Value, now: datetime.datetime, *, relative: bool, wide: bool = False) -> str:
    """``builds``: one line each; ``wide`` adds what built it, whose log tells of it, and the image."""
    rows = [
        [
            one["run"], one["service"], _release(one, wide=wide), one["sha"] if wide else one["sha"][:7],
            "reused" if one["reused"] else one["status"], took(one), cached(one),
            when(one["started_at"], now, relative=relative), *(_more(one) if wide else ()),
        ]
        for one in answer["builds"]
    ]  # fmt: skip
    header = ("RUN", "SERVICE", "REL", "COMMIT", "STATUS", "TOOK", "CACHE", "WHEN")
    return table([*header, *(("BUILDER", "LOG OF", "IMAGE") if wide else ())], rows)


def _release(one: Value, *, wide: bool) -> str:
    return (one["release"] if wide else version(one["release"])) if one["release"] else "-"


def _more(one: Value) -> list[str]:
    return [one["builder"] or "-", one["log_run"], one["image"] or "-"]


def build(one: Value) -> str:
    """One build: why it took as long as it did, step by step."""
    lines = [f"{one['service']} of run {one['run']}  {one['status']}  {one['sha'][:7]}", *explained(one)]
    steps = [
        ["cached" if step["cached"] else "failed" if step["failed"] else f"{step['seconds']:.1f}s", step["name"]]
        for step in one["steps"]
    ]
    told = table(("TIME", "STEP"), steps) if steps else ""
    return "\n".join([*map(printable, lines), *map(printable, failure(one)), *([told] if told else [])])
