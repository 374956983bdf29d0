"""A real browser: Debian's Chromium, driven by Playwright from PyPI. Nothing is downloaded by Playwright itself."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.support.components import needs

BUILD = Path(__file__).parents[2] / "build" / "pages"


@contextlib.asynccontextmanager
async def browser(*switches: str) -> AsyncIterator[Any]:
    """The browser, with more of Chromium's switches where given; a test opens contexts in it."""
    program = needs("chromium")
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        args = ["--no-sandbox", "--disable-gpu", *switches]
        found = await playwright.chromium.launch(executable_path=program, args=args)
        try:
            yield found
        finally:
            await found.close()


async def violations(page: Any) -> list[str]:
    """What axe finds wrong with a page by WCAG 2 A and AA."""
    import axe_playwright_python

    script = Path(axe_playwright_python.__file__).parent / "axe.min.js"
    # The content policy lets no script in; the browser's own debugger may run one.
    await page.evaluate(script.read_text() + "; true")
    found = await page.evaluate(
        "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']}).then(r => r.violations.map("
        "v => v.id + ': ' + v.nodes.map(n => n.html).slice(0, 3).join(' | ')))"
    )
    return list(found)


async def picture(page: Any, name: str) -> None:
    """Keep what the page looks like."""
    BUILD.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=str(BUILD / f"{name}.png"), full_page=True)
