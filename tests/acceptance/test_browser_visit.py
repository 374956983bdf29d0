"""A new user's first visit: the printed address, each page, a log that grows, a rollback, a second shell, a logout.

Everything behind the pages is real: what is clicked is what git, the registry and podman then show.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.chromium import browser
from tests.support.components import SEARCH_PATH, needs
from tests.support.line import API, ROOT, Line, commit, eventually, git, run_enclii, running_line, sample

HOST = "web.shop.localhost"
PLACE = "/services/shop/production/web"
SERVED = 'command: ["/bin/busybox", "httpd", "-f", "-vv", "-p", "8080", "-h", "/www"]'
LIMIT = 60_000


def test_a_first_visit_from_the_printed_address_to_the_logout(tmp_path: Path) -> None:
    needs("chromium")
    with running_line(tmp_path / "home") as line:
        two_releases(tmp_path / "shop", line)
        (tmp_path / "second").mkdir()
        opened = run_enclii(line, API, "open")
        assert opened.returncode == 0, opened.stderr
        asyncio.run(visited(line, opened.stdout.strip(), tmp_path / "second"))
        assert [one for one in line.log("console").splitlines() if '"level": "error"' in one] == []


def two_releases(folder: Path, line: Line) -> None:
    """The service tells each request, so its log grows by a look at its page."""
    sample(folder, "one\n")
    (folder / "enclii.yaml").write_text(f"services:\n  web: {{port: 8080, health: /index.html, {SERVED}}}\n")
    for text in ("one\n", "two\n"):
        (folder / "index.html").write_text(text)
        commit(folder, f"Page {text}")
        git("push", "-q", line.url("shop/shop"), "main", cwd=folder)
        eventually(serves(line, text), what=f"it serves {text}")


def serves(line: Line, text: str) -> Callable[[], bool]:
    return lambda: line.page(HOST, "/index.html") == text


async def visited(line: Line, address: str, home: Path) -> None:
    async with browser() as found:
        context = await found.new_context(base_url=f"http://127.0.0.1:{line.ports['console']}")
        page = await context.new_page()
        page.set_default_timeout(LIMIT)
        await page.goto(address)
        await each_page_answers(page)
        await the_log_grows(page, line)
        await a_rollback_is_clicked(page, line)
        await a_second_shell_logs_in(page, line, home)
        await page.goto("/")
        await page.get_by_role("button", name="Log out").click()
        await page.wait_for_url("**/login")
        await page.goto("/runs")
        assert "/login" in page.url
        await context.close()


async def each_page_answers(page: Any) -> None:
    """All that the head of the page and the service's own page lead to, within the console."""
    ways = set()
    for start in ("/", PLACE):
        await page.goto(start)
        ways |= set(await page.locator("a[href^='/']").evaluate_all("all => all.map(one => one.getAttribute('href'))"))
    assert {"/runs", "/queue", "/settings", f"{PLACE}/logs", f"{PLACE}/secrets"} <= ways
    for way in sorted(ways - {"/v1/openapi.json"}):
        answer = await page.goto(way)
        assert (way, answer.status) == (way, 200)


async def the_log_grows(page: Any, line: Line) -> None:
    await page.goto(f"{PLACE}/logs")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        await asyncio.to_thread(line.page, HOST, "/nowhere-yet")
    await page.locator("#log li", has_text="nowhere-yet").first.wait_for()


async def a_rollback_is_clicked(page: Any, line: Line) -> None:
    await page.goto(f"{PLACE}/rollback?to=1")
    await page.get_by_label("Reason, kept in git").fill("the second page is wrong")
    await page.locator("main form[action='/act/rollback'] button").click()
    await page.wait_for_url("**/commands/**")
    await asyncio.to_thread(eventually, serves(line, "one\n"), what="the first page is back")
    await page.goto(PLACE)
    await page.get_by_text("the second page is wrong").first.wait_for()


async def a_second_shell_logs_in(page: Any, line: Line, home: Path) -> None:
    with shell(line, home, "login") as login:
        assert login.stderr is not None
        told = await asyncio.to_thread(lambda: login.stderr.readline() + login.stderr.readline())  # type: ignore[union-attr]
        code = re.search(r"code ([A-Z]{4}-[A-Z]{4})", told)
        assert code, told
        await page.goto(f"/device?code={code[1]}")
        await page.get_by_role("button", name="Log it in").click()
        assert await asyncio.to_thread(login.wait, 60) == 0
    with shell(line, home, "ps", "-p", "shop") as ps:
        said, wrong = await asyncio.to_thread(ps.communicate)
    assert ("v1" in said, "running" in said, ps.returncode) == (True, True, 0), said + wrong


@contextmanager
def shell(line: Line, home: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """The command line with a home of its own and no token in its environment."""
    env = {"PATH": SEARCH_PATH, "HOME": str(home), "ENCLII_KEYRING": "off", "LANG": os.environ.get("LANG", "C.UTF-8")}
    env["ENCLII_SERVER"] = f"http://127.0.0.1:{line.ports['console']}"
    argv = (sys.executable, "-m", "console.cli", *words)
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, cwd=ROOT, env=env, stdout=pipe, stderr=pipe, text=True) as started:
        yield started
