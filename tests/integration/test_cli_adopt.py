"""``enclii adopt`` against a real API: it shows the plan before it asks, and does what was shown."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pipeline.events import AdoptRequested, decode
from pipeline.names import token
from pipeline.records import Decision
from tests.integration import console_records as data
from tests.integration.console_server import Console, with_console
from tests.integration.test_cli import enclii

PATH = "apps/web/overlays/production"
PLAN = "shop/web in production: this\n  apps/web.yaml:9  images[0].newTag: v1\x1b[2J"


async def asked(console: Console, count: int) -> AdoptRequested:
    """The newest of ``count`` requests, decided as the committer would."""
    async with console.store.bus.watch("ev.adopt.requested.*") as messages:
        for _ in range(count):
            found = decode("adopt.requested", (await anext(messages)).data)
    assert isinstance(found, AdoptRequested)
    said, reason = (PLAN, "adoption_planned") if found.plan else ("Adopt shop/web in production", "adopted")
    await console.put(Decision(id=found.id, about="command", outcome="accepted", reason=reason, message=said))
    return found


def test_a_dry_run_prints_the_plan_and_asks_for_nothing_more(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        running = asyncio.create_task(
            enclii(console, tmp_path, "adopt", PATH, "-s", "new", "-e", "production", "--dry-run")
        )
        plan = await asked(console, 1)
        ended = await running
        assert (plan.plan, plan.service, plan.path) == (True, "new", PATH)
        assert ended.code == 0
        assert "images[0].newTag: v1\\x1b[2J" in ended.out

    with_console(tmp_path, story)


def test_what_was_shown_is_what_is_asked_for(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        running = asyncio.create_task(
            enclii(console, tmp_path, "adopt", PATH, "-s", "web", "-e", "production", "--yes", "--target", "helm:image")
        )
        await asked(console, 1)
        done = await asked(console, 2)
        ended = await running
        assert (done.plan, done.expected, done.targets) == (False, token(PLAN), ("helm:image",))
        assert ended.code == 0
        assert "images[0].newTag" in ended.err

    with_console(tmp_path, story)


def test_without_a_terminal_it_does_not_go_on_unasked(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        running = asyncio.create_task(enclii(console, tmp_path, "adopt", "shop/production/web"))
        plan = await asked(console, 1)
        ended = await running
        assert plan.service == "web"
        assert (ended.code, "add --yes" in ended.err) == (2, True)

    with_console(tmp_path, story)
