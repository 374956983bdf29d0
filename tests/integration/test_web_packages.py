"""The page of two releases tells what differs in their signed SBOMs, read from a real registry."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from console.projection import Projection
from gitops.gate import contents
from gitops.gate.evaluation import Package
from pipeline.keys import SigningKey
from pipeline.records import Release
from pipeline.registry import Registry
from pipeline.store import Store
from pipeline.supply import sign_release
from tests.integration import console_records as data
from tests.integration.browser import invited, logged_in
from tests.integration.console_server import Console, with_console
from tests.support.chromium import browser, picture, violations
from tests.support.forgeries import facts
from tests.support.registry import push_image, running_registry

KEY, STRANGER = SigningKey.generate(), SigningKey.generate()
NONE = "\N{EN DASH}"
PAGE = "/services/shop/production/web/releases?from=1&to="


def sbom(**versions: str) -> bytes:
    listed = [{"name": name, "versionInfo": version} for name, version in versions.items()]
    return json.dumps({"spdxVersion": "SPDX-2.3", "packages": listed}).encode()


async def pushed(registry: Registry) -> list[Release]:
    """v1 and v2 with SBOMs of ours; v3 with one that somebody else signed, v4 with one of no form."""
    found = []
    for number, key, listed in (
        (1, KEY, sbom(zlib="1.2", left="1.0", same="3", gone="1")),
        (2, KEY, sbom(zlib="1.3", left="1.0", same="3", fresh="7<b>")),
        (3, STRANGER, sbom(zlib="9")),
        (4, KEY, b'{"spdxVersion": "SPDX-2.3", "packages": {"zlib": "9"}}'),
    ):
        image = await push_image(registry, "shop/web", tag=f"v{number}", content=b"%d" % number)
        await sign_release(registry, image, key=key, provenance=facts(), sbom=listed)
        found.append(data.release(number, str(image), data.SHA2, data.AT2))
    return found


def with_releases(tmp: Path, story: Callable[[Console], Awaitable[None]]) -> None:
    """Run ``story`` beside a console whose releases lie in a registry of its own."""
    with running_registry(tmp / "registry") as host:
        registry = Registry(host, plain_http=True)

        def faces(projection: Projection, _: Store) -> dict[str, Any]:
            async def packages(wanted: str) -> tuple[Package, ...]:
                found = projection.get(Release, wanted)
                assert found is not None
                return await contents.packages(registry, found.image, (KEY.public,))

            return {"packages": packages}

        async def go(console: Console) -> None:
            async with registry:
                await console.put(*data.shop(), *await pushed(registry))
                await story(console)

        with_console(tmp, go, faces=faces)


def test_the_page_of_two_releases_shows_what_differs_in_their_packages(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        reader = await logged_in(console)
        told = (await reader.get(f"{PAGE}2")).text.partition("<h3>Packages</h3>")[2]
        assert re.findall(r'<th scope="row">(\w+)</th><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td></tr>', told) == [
            ("fresh", NONE, "7&lt;b&gt;", "added"), ("gone", "1", NONE, "removed"),
            ("zlib", "1.2", "1.3", "another version"),
        ]  # fmt: skip
        assert "have the same packages" in (await reader.get(f"{PAGE}1")).text
        for number, why in ((3, "no signed SBOM is known of"), (4, "in a form that cannot be read")):
            refused = await reader.get(f"{PAGE}{number}")
            assert (refused.status, why in refused.text) == (200, True)

    with_releases(tmp_path, story)


def test_packages_are_legible_to_all_in_both_themes_and_on_a_phone(tmp_path: Path) -> None:
    with_releases(tmp_path, looked_at)


async def looked_at(console: Console) -> None:
    """In both themes and as wide as a phone: legible to all, and nothing runs out of it."""
    async with browser() as found:
        context = await found.new_context(base_url=console.url)
        page = await context.new_page()
        page.set_default_timeout(60_000)
        await page.goto(await invited(console))
        await page.goto(f"{PAGE}2")
        for theme in ("light", "dark"):
            await page.emulate_media(color_scheme=theme)
            assert await violations(page) == []
            await picture(page, f"packages-{theme}")
        await page.set_viewport_size({"width": 360, "height": 740})
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360
        await picture(page, "packages-phone")
        await context.close()
