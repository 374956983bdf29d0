"""A plan of retention as people and programs see it, and the question that the planner answers with one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from pipeline import retention
from pipeline.retention import Fate
from pipeline.retention_logs import Going

SUBJECT: Final = "rq.retention.plan"
LIMIT: Final = 30.0
"""Seconds that reading a registry may take."""
MOST: Final = 20_000
"""Lines that fit into one answer."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One manifest; ``size`` is in bytes with everything that it names."""

    repository: str
    digest: str
    tags: tuple[str, ...]
    size: int
    keep: bool
    why: str


class GoingLog(msgspec.Struct, frozen=True, kw_only=True):
    """The log of one build that goes."""

    run: str
    project: str
    service: str
    why: str


class RetentionPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What would be kept and shed now. ``token`` stands for what is shed; ``frees`` is in bytes, shared ones once.

    With a ``reason`` there is no plan, and ``message`` says why.
    """

    token: str = ""
    frees: int = 0
    kept: int = 0
    shed: int = 0
    lines: tuple[Line, ...] = ()
    logs: tuple[GoingLog, ...] = ()
    reason: str = ""
    message: str = ""


def of(fates: Sequence[Fate], logs: Sequence[Going] = ()) -> RetentionPlan:
    """The plan; what is shed comes first and is never left out for length before what is kept."""
    ordered = sorted(fates, key=lambda one: (one.keep, one.held.repository, one.why, one.held.digest))
    shed = sum(not one.keep for one in fates)
    return RetentionPlan(
        token=retention.token(fates), frees=retention.freed(fates), kept=len(fates) - shed, shed=shed,
        lines=tuple(map(_line, ordered[:MOST])), logs=tuple(map(_log, logs[:MOST])),
    )  # fmt: skip


def _log(one: Going) -> GoingLog:
    return GoingLog(run=one.job.run, project=one.job.project, service=one.job.service, why=one.why)


def _line(fate: Fate) -> Line:
    one = fate.held
    return Line(
        repository=one.repository, digest=one.digest, tags=one.tags, size=one.size, keep=fate.keep, why=fate.why
    )
