"""``enclii logs`` against a real API: what is chosen, what is followed, and what is left of what died."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from console.service_logs import NANO
from gitops.clusters import LogLine
from tests.integration import console_records as data
from tests.integration.console_server import Console, with_console
from tests.integration.test_cli import PLACE, enclii


def test_a_followed_log_that_breaks_off_goes_on_with_the_next_line(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        at = 1_700_000_000 * NANO
        told = [(10, "web-1", "v1"), (12, "web-2", "v1"), (11, "web-1", "v1"), (11, "web-1", "v1"), (9, "web-3", "v2")]
        lines = [LogLine(at + time, who, release, "stdout", b"%d" % n) for n, (time, who, release) in enumerate(told)]
        console.logs.lines, console.logs.breaks_after = lines, 3
        ended = await enclii(console, tmp_path, "logs", "-f", "--raw", *PLACE)
        newest = await enclii(console, tmp_path, "logs", "--raw", "--release", "v1", "-n", "1", *PLACE)
        assert (ended.out.split(), len(console.logs.asked)) == (["0", "1", "2", "3", "4"], 3)
        assert newest.out.split() == ["3"]

    with_console(tmp_path, story)


@pytest.mark.parametrize("more", [(), ("-f",)])
def test_where_nothing_runs_the_last_lines_of_what_died_are_shown(tmp_path: Path, more: tuple[str, ...]) -> None:
    async def story(console: Console) -> None:
        dead = data.deployment(2, data.IMAGE2, data.SHA2, data.AT2, "failed")
        gone = msgspec.structs.replace(data.live(2, data.IMAGE2, data.AT2), replicas=(), ready=0, deployment="")
        await console.put(*data.shop(), msgspec.structs.replace(dead, dead_logs=("web-0 no such table",)))
        await console.put(gone)
        ended = await enclii(console, tmp_path, "logs", *more, *PLACE)
        assert (ended.code, ended.out) == (0, "web-0 | no such table\n"), ended.err

    with_console(tmp_path, story)


def test_the_lines_of_what_died_are_shown_and_searched(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        dead = data.deployment(2, data.IMAGE2, data.SHA2, data.AT2, "failed")
        lines = ("web-0 starting", "web-0 no such table: users")
        await console.put(*data.shop(), msgspec.structs.replace(dead, dead_logs=lines))
        every = await enclii(console, tmp_path, "logs", "--previous", *PLACE)
        some = await enclii(console, tmp_path, "logs", "--previous", "--grep", "table: .*s$", *PLACE)
        wrong = await enclii(console, tmp_path, "logs", "--grep", "(", *PLACE)
        assert every.out.splitlines() == ["web-0 | starting", "web-0 | no such table: users"]
        assert some.out.splitlines() == ["web-0 | no such table: users"]
        assert wrong.code == 2

    with_console(tmp_path, story)


def test_the_newest_builds_log_is_that_of_a_run_that_built_something(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        built = msgspec.structs.replace(data.run(3, "succeeded"), created_at="2026-03-03T10:00:00.000Z")
        nothing = msgspec.structs.replace(data.run(4, "skipped"), services=(), created_at="2026-03-04T10:00:00.000Z")
        await console.put(*data.shop(), built, data.job(3, "deployed"), nothing)
        ended = await enclii(console, tmp_path, "-v", "logs", "--build", "-p", "shop")
        assert ended.code == 0, ended
        assert "GET /v1/runs/r-3/logs" in ended.err

    with_console(tmp_path, story)
