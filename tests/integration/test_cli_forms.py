"""The program's output byte by byte, in a terminal and in a pipe, and what it does when its watcher leaves."""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from pipeline.events import HoldRequested
from pipeline.names import run_id
from pipeline.previews import Preview
from pipeline.promotions import Promotion
from pipeline.records import Decision, Parked, Record
from pipeline.store import now
from tests.integration import console_records as data
from tests.integration.console_server import TOKEN, Console, with_console
from tests.support.terminal import Shown, in_pipe, in_terminal

GOLDEN = Path(__file__).parents[1] / "data" / "cli"
WEB = ("-p", "shop", "-s", "web", "-e", "production")
VIEWS = {
    "ps": ("ps", "-p", "shop"),
    "ps-wide": ("ps", "-p", "shop", "-o", "wide"),
    "status": ("status", "-p", "shop"),
    "releases": ("releases", *WEB),
    "plan": ("rollback", "--plan", *WEB),
    "unknown": ("releases", "-p", "shop", "-s", "wbe"),
}
TIME = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|\+00:00)")


def env_of(console: Console, **more: str) -> dict[str, str]:
    return {"ENCLII_SERVER": console.url, "ENCLII_TOKEN": TOKEN, **more}


async def some_days_old(console: Console) -> None:
    at = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=4, hours=1, minutes=30)
    pushed, ran = (at - datetime.timedelta(seconds=9)).isoformat(), at.isoformat()
    live = data.live(2, data.IMAGE2, ran)
    seen = tuple(msgspec.structs.replace(one, node="one") for one in live.replicas)
    newer = {"image": data.IMAGE2, "sha": data.SHA2, "at": ran}
    older = {"image": data.IMAGE1, "sha": data.SHA1, "at": (at - datetime.timedelta(days=1)).isoformat()}
    await console.put(
        *data.shop(), msgspec.structs.replace(data.run(2, "succeeded"), created_at=pushed),
        msgspec.structs.replace(data.run(1, "succeeded", data.SHA1), created_at=older["at"]),
        data.release(2, **newer), data.deployment(2, **newer, status="running"),
        data.release(1, **older), data.deployment(1, **older, status="replaced"),
        msgspec.structs.replace(live, replicas=seen),
    )  # fmt: skip


def golden(name: str, text: str) -> None:
    """Compare with the stored text, or store it when GOLDEN=write says so."""
    file = GOLDEN / f"{name}.txt"
    told = TIME.sub("TIME", text.replace("\r\n", "\n"))
    if os.environ.get("GOLDEN") == "write":
        file.write_text(told)
    assert told == file.read_text(), name


def test_every_view_looks_as_it_did_in_a_terminal_and_in_a_pipe(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await some_days_old(console)
        for name, arguments in VIEWS.items():
            tty = await asyncio.to_thread(in_terminal, *arguments, env=env_of(console), cwd=tmp_path)
            pipe = await asyncio.to_thread(in_pipe, *arguments, env=env_of(console), cwd=tmp_path)
            golden(f"{name}.tty", f"exit {tty.code}\n{tty.text}")
            golden(f"{name}.pipe", f"exit {pipe.code}\n{pipe.text}{pipe.err}")

    with_console(tmp_path, story)


def test_ctrl_c_detaches_from_a_run_and_says_that_it_goes_on(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop(), data.run(3, "running"), data.job(3, "building"))
        stage = {"name": "build", "started_at": data.AT2}
        job = msgspec.convert(
            {**msgspec.to_builtins(data.job(3, "building")), "stages": [stage]}, type=type(data.job(3, "building"))
        )
        await console.put(job)

        steps = [("web  build  running", lambda: b"\x03")]
        ended = await asyncio.to_thread(
            in_terminal, "status", "--watch", "-p", "shop", env=env_of(console), cwd=tmp_path, steps=steps
        )

        assert ended.code == 130, ended.text
        assert "detached; run r-3 goes on: enclii status --watch --run r-3" in ended.text
        assert (await console.get("/v1/runs/r-3"))["status"] == "running"

    with_console(tmp_path, story)


def _putting(console: Console, *records: Record) -> Callable[[], bytes]:
    """A step that writes records while the program runs, and types nothing."""
    loop = asyncio.get_running_loop()

    def put() -> bytes:
        asyncio.run_coroutine_threadsafe(console.put(*records), loop).result()
        return b""

    return put


def test_watching_never_ends_with_the_run_before_the_push(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop(), data.push(3))
        told = (await console.get("/v1/projects/shop/pushes"))["pushes"]
        planned = Decision(id="del-3", about="delivery", outcome="accepted", reason="planned", message="1 service")
        run = msgspec.structs.replace(data.run(3, "succeeded"), created_at=now())
        steps = [("waiting for its run", _putting(console, planned, run, data.job(3, "deployed")))]
        arguments = ("status", "--watch", "-p", "shop")
        ended = await asyncio.to_thread(in_terminal, *arguments, env=env_of(console), cwd=tmp_path, steps=steps)

        assert [(one["run"], one["sha"]) for one in told] == [(run_id("del-3"), data.SHA2)]
        assert (ended.code, "run r-3" in ended.text, "run r-2" in ended.text) == (0, True, False), ended
        assert (await console.get("/v1/projects/shop/pushes"))["pushes"] == []

    with_console(tmp_path, story)


def test_watching_goes_on_with_the_run_of_a_newer_push(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop(), data.run(3, "running"), data.job(3, "building"))
        newer = msgspec.structs.replace(data.run(4, "succeeded"), created_at=now())
        ends = (data.job(3, "superseded"), data.run(3, "superseded"), newer, data.job(4, "deployed"))
        arguments, env = ("status", "--watch", "-p", "shop"), env_of(console, CI="1")
        steps = [("run r-3", _putting(console, *ends))]
        ended = await asyncio.to_thread(in_terminal, *arguments, env=env, cwd=tmp_path, steps=steps)

        assert ended.code == 0, ended
        assert re.findall(r"run (r-\d)|(superseded|deployed)", ended.text) == [
            ("r-3", ""), ("", "superseded"), ("r-4", ""), ("", "deployed"),
        ]  # fmt: skip

    with_console(tmp_path, story)


def test_a_push_that_nobody_plans_is_told_and_goes_on(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop(), data.push(3))
        ended = await _piped(console, tmp_path, "status", "--watch", "-p", "shop", "--timeout", "1")

        assert (ended.code, ended.text) == (3, ""), ended
        assert f"status --watch --run {run_id('del-3')}" in ended.err

    with_console(tmp_path, story)


def test_progress_is_drawn_anew_in_a_terminal_and_is_a_line_per_change_in_a_pipe(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop(), data.run(3, "running"), data.job(3, "building"))
        here = {"env": env_of(console), "cwd": tmp_path}
        watching = [
            asyncio.create_task(asyncio.to_thread(run, "status", "--watch", "-p", "shop", **here))
            for run in (in_terminal, in_pipe)
        ]
        await console.put(data.job(3, "deployed"), data.run(3, "succeeded"))
        tty, pipe = await asyncio.gather(*watching)

        assert (tty.code, pipe.code) == (0, 0), (tty, pipe)
        assert pipe.text == "web  deployed\n"
        assert "\x1b" in tty.text
        assert "\x1b" not in pipe.text + pipe.err

    with_console(tmp_path, story)


@pytest.mark.parametrize("form", ["json", "jsonl", "yaml", "name", "wide"])
def test_a_list_is_printed_in_every_form(tmp_path: Path, form: str) -> None:
    async def story(console: Console) -> None:
        await some_days_old(console)
        ended = await _piped(console, tmp_path, "releases", *WEB, "-o", form)
        wanted = {
            "json": lambda: json.loads(ended.text)["releases"][0]["version"] == "v2",
            "jsonl": lambda: [json.loads(line)["version"] for line in ended.text.splitlines()] == ["v2", "v1"],
            "yaml": lambda: ended.text.startswith("service: shop.web\nreleases:\n  - id: shop.web.v2\n"),
            "name": lambda: ended.text == "shop.web.v2\nshop.web.v1\n",
            "wide": lambda: data.SHA2 in ended.text and "shop.web.v2" in ended.text,
        }
        assert (ended.code, wanted[form]()) == (0, True), ended

    with_console(tmp_path, story)


def test_flags_for_everything_stand_before_or_behind_a_command(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        before = await _piped(console, tmp_path, "-v", "--timeout", "9", "ps", "-p", "shop")
        behind = await _piped(console, tmp_path, "ps", "-p", "shop", "--verbose", "--timeout", "9", "--no-color")
        asked = await _piped(console, tmp_path, "destroy", *WEB, "--no-input")
        late = await _piped(console, tmp_path, "hold", *WEB, "--timeout", "1", "-o", "json")
        await console.put(data.run(3, "running"), data.job(3, "building"))
        watched = await _piped(console, tmp_path, "status", "--watch", "--timeout", "1", "-p", "shop")

        assert "GET /v1/ps?project=shop  200  " in before.err
        assert before.err.count("GET") == behind.err.count("GET") == 2
        assert (asked.code, "confirmation_needed" in asked.err) == (2, True)
        assert (late.code, json.loads(late.err)["reason_code"]) == (3, "timeout")
        assert (watched.code, "reason: timeout" in watched.err) == (3, True)

    with_console(tmp_path, story)


def test_quiet_leaves_errors_alone(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        quiet = await _piped(console, tmp_path, "-q", "releases", "-p", "shop", "-s", "wbe")
        assert (quiet.code, "no_such_service" in quiet.err) == (5, True)

    with_console(tmp_path, story)


def test_a_question_is_asked_in_a_terminal_and_a_no_changes_nothing(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())

        steps = [("[y/N]: ", lambda: b"n\n")]
        ended = await asyncio.to_thread(in_terminal, "destroy", *WEB, env=env_of(console), cwd=tmp_path, steps=steps)

        assert (ended.code, "nothing was changed" in ended.text) == (1, True), ended

    with_console(tmp_path, story)


def test_watching_processes_prints_each_change_once(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        one = data.live(2, data.IMAGE2, data.AT2)
        worse = msgspec.structs.replace(one, health="unhealthy", status="degraded")
        loop = asyncio.get_running_loop()

        def worsen() -> bytes:
            asyncio.run_coroutine_threadsafe(console.put(worse), loop).result()
            return b""

        steps = [("web.2", worsen), ("unhealthy", lambda: b"\x03")]
        env = env_of(console, TERM="dumb")
        ended = await asyncio.to_thread(in_terminal, "ps", "-p", "shop", "--watch", env=env, cwd=tmp_path, steps=steps)

        heads = [line for line in ended.text.splitlines() if line.startswith("shop/production web")]
        assert [line.rpartition("  ")[2] for line in heads] == ["healthy", "unhealthy"], ended
        assert (ended.text.count("PROCESS"), ended.code) == (1, 130)

    with_console(tmp_path, story)


def test_the_api_is_asked_by_hand(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        read = await _piped(console, tmp_path, "api", "get", "/v1/projects")
        told = await _piped(console, tmp_path, "api", "POST", "/v1/holds", "-f", "project=shop", "-f", "why=by hand",
                            "-f", "environment=production", "-f", "service=web")  # fmt: skip
        wrong = await _piped(console, tmp_path, "api", "GET", "/v1/nothing")

        assert json.loads(read.text)["projects"][0]["slug"] == "shop"
        assert json.loads(told.text)["command"].startswith("c-")
        assert wrong.code == 5

    with_console(tmp_path, story)


def test_a_shell_is_offered_names_that_the_api_knows(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        words = {"COMP_WORDS": "enclii releases -p shop -s w", "COMP_CWORD": "5", "_ENCLII_COMPLETE": "bash_complete"}
        offered = await asyncio.to_thread(in_pipe, env=env_of(console, **words), cwd=tmp_path)
        assert offered.text == "plain,web\n", offered

    with_console(tmp_path, story)


async def _piped(console: Console, tmp_path: Path, *arguments: str) -> Shown:
    return await asyncio.to_thread(in_pipe, *arguments, env=env_of(console), cwd=tmp_path)


def test_what_happens_is_listed_and_followed(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        await _holds(console, 0, 1, 2)
        loop = asyncio.get_running_loop()

        def happen() -> bytes:
            asyncio.run_coroutine_threadsafe(_holds(console, 3), loop).result()
            return b""

        steps = [("k-2", happen), ("k-3", lambda: b"\x03")]
        listed = await _piped(console, tmp_path, "events", "-p", "shop", "-n", "2", "-o", "jsonl")
        none = await _piped(console, tmp_path, "events", "-p", "shop", "--type", "build.finished")
        followed = await asyncio.to_thread(
            in_terminal, "events", "-p", "shop", "-f", "-n", "1", env=env_of(console), cwd=tmp_path, steps=steps
        )

        assert [json.loads(line)["id"] for line in listed.text.splitlines()] == ["k-1", "k-2"]
        assert (none.text.split(), none.code) == (["WHEN", "TYPE", "WHERE", "ABOUT", "STATUS", "BY"], 0)
        shown = [line.split()[1:] for line in followed.text.splitlines() if TIME.match(line)]
        assert shown == [["hold.requested", "shop/production/web", f"k-{number}", "-", "ada"] for number in (2, 3)]
        assert (followed.code, "detached; what happens goes on" in followed.text) == (130, True)

    with_console(tmp_path, story)


async def _holds(console: Console, *numbers: int) -> None:
    for number in numbers:
        await console.store.publish(HoldRequested(id=f"k-{number}", **data.PLACE, actor="ada"))


def _waiting(number: int) -> Preview:
    return Preview(
        id=f"shop.preview-{number}", project="shop", repository="1", number=number, environment=f"preview-{number}",
        state="waiting", sha=data.SHA2, created_at=data.AT1, active_at=data.AT1, by="ada",
    )  # fmt: skip


def _parked(name: str) -> Parked:
    return Parked(
        id=name, consumer="builder", subject_parked=f"parked.{name}", event_type="build.requested", reason="bad",
        message="no", attempts=3, at=data.AT1,
    )  # fmt: skip


def _promotion(name: str) -> Promotion:
    return Promotion(
        id=name, project="shop", environment="production", source="staging", members=(), command=name,
        status="waiting", created_at=data.AT1, actor="ada",
    )  # fmt: skip


WATCHED: dict[str, tuple[tuple[str, ...], Record, Record, str, str]] = {
    "previews": (("preview", "list", "-p", "shop"), _waiting(7), _waiting(8), "shop/7", "shop/8"),
    "parked": (("parked",), _parked("p-one"), _parked("p-two"), "p-one", "p-two"),
    "promotions": (("promotions", "-p", "shop"), _promotion("m-one"), _promotion("m-two"), "m-one", "m-two"),
}


@pytest.mark.parametrize("name", WATCHED)
def test_every_list_of_what_changes_can_be_watched(tmp_path: Path, name: str) -> None:
    arguments, first, second, known, comes = WATCHED[name]

    async def story(console: Console) -> None:
        await console.put(*data.shop(), first)
        steps = [(known, _putting(console, second)), (comes, lambda: b"\x03")]
        here = {"env": env_of(console, TERM="dumb"), "cwd": tmp_path}
        ended = await asyncio.to_thread(in_terminal, *arguments, "--watch", steps=steps, **here)

        assert (ended.code, ended.text.count(known), ended.text.count(comes)) == (130, 1, 1), ended
        assert "what you watched goes on" in ended.text

    with_console(tmp_path, story)


def test_watched_tokens_show_one_that_is_made(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        client = console.client

        def make() -> bytes:
            client.post("/v1/tokens", {"name": "made-meanwhile", "role": "viewer"})
            return b""

        steps = [("NAME", make), ("made-meanwhile", lambda: b"\x03")]
        here = {"env": env_of(console, TERM="dumb"), "cwd": tmp_path}
        ended = await asyncio.to_thread(in_terminal, "token", "list", "--watch", steps=steps, **here)

        assert (ended.code, ended.text.count("made-meanwhile")) == (130, 1), ended

    with_console(tmp_path, story)


def test_what_settles_a_parked_event_is_not_watched(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop(), _parked("p-one"))
        ended = await _piped(console, tmp_path, "parked", "drop", "p-one", "--watch")
        assert ended.code == 2
        assert [one["id"] for one in (await console.get("/v1/parked"))["parked"]] == ["p-one"]

    with_console(tmp_path, story)
