"""What ``doctor`` says of forges: when one was heard of last, what none told us, and what our GitHub App lacks."""

from __future__ import annotations

import asyncio
from typing import Final

from console.projection import Projection
from gitops.clusters import Finding
from pipeline.answers import APP_HEALTH, GAP, Answer
from pipeline.errors import EncliiError
from pipeline.records import Decision
from pipeline.store import Store

RECENT: Final = 1_000


async def checks(db: Projection, store: Store) -> list[Finding]:
    """Nothing where no forge ever delivered anything and none is spoken with."""
    try:
        gap, health = await store.get(Answer, *GAP), await store.get(Answer, *APP_HEALTH)
    except EncliiError as error:
        return [Finding("warning", "webhooks", error.message)]
    found = [*await asyncio.to_thread(_last, db), *(_gap(gap.record) if gap else ())]
    return found + (_app(health.record) if health else [])


def _last(db: Projection) -> list[Finding]:
    recent = db.find(Decision, limit=RECENT, newest_first=True)
    told = [one for one in recent if one.about == "delivery" and one.id.count(":") == 2]  # FORGE:HOOK:DELIVERY
    heard = [one for one in told if not one.id.startswith(("local:", "poll:"))]
    last = max(heard, key=lambda one: one.at, default=None)
    return [Finding("ok", "webhooks", f"the last one came at {last.at}: {last.outcome}")] if last else []


def _gap(gap: Answer) -> list[Finding]:
    told = f"the last one that never came was found at {gap.at}: {gap.said}"
    return [Finding("ok", "missed webhooks", told, "see the forge's own log of the hook if that goes on")]


def _app(health: Answer) -> list[Finding]:
    if not health.problem:
        return [Finding("ok", "GitHub App", f"has every permission and event; asked at {health.at}")]
    fix = "the App's settings on GitHub → Permissions & events; then accept them where it is installed"
    return [Finding("warning", "GitHub App", f"lacks {health.problem}", fix)]
