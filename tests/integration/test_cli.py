"""The program against a real API: what it prints, what it asks for, and how it exits; the test decides the commands."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from console import cli
from pipeline.events import DeployRequested, HoldRequested, LinkRequested, RollbackRequested, decode
from pipeline.hooks import hook_secret
from pipeline.records import Decision, Outcome, Repository
from pipeline.store import now
from tests.integration import console_records as data
from tests.integration.console_server import TOKEN, Console, with_console

PLACE = ("-p", "shop", "-e", "production", "-s", "web")


@dataclass
class Ended:
    code: int
    out: str
    err: str


async def enclii(console: Console, cwd: Path, *arguments: str) -> Ended:
    """Run the program as its entry does, in a thread of its own."""
    out, err = io.StringIO(), io.StringIO()

    def call() -> int:
        return cli.run(arguments, {"ENCLII_SERVER": console.url, "ENCLII_TOKEN": TOKEN}, cwd)

    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = await asyncio.to_thread(call)
    return Ended(code, out.getvalue(), err.getvalue())


async def next_event(console: Console, kind: str, running: asyncio.Task[Ended]) -> bytes:
    """The first event of that type; a program that ends without one has failed, and said why."""
    async with console.store.bus.watch(f"ev.{kind}.*") as messages:
        coming = asyncio.ensure_future(anext(messages))
        await asyncio.wait({coming, running}, return_when=asyncio.FIRST_COMPLETED)
        if not coming.done():
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
            raise AssertionError(f"it ended before any {kind}: {running.result()}")
        return coming.result().data


async def decide(console: Console, wanted: str, outcome: Outcome, reason: str, **place: str) -> None:
    await console.put(Decision(id=wanted, about="command", outcome=outcome, reason=reason, message="because", **place))


def test_ps_finds_the_only_project_and_lists_its_processes(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        ended = await enclii(console, tmp_path, "ps")
        rows = ended.out.splitlines()
        assert (ended.code, ended.err) == (0, "")
        assert rows[1].split() == ["PROCESS", "READY", "STATUS", "RESTARTS", "AGE", "RELEASE", "NODE"]
        assert [row.split()[0] for row in rows[2:]] == ["web.1", "web.2"]

    with_console(tmp_path, story)


@pytest.mark.parametrize("verb", [["ps"], ["status"], ["releases"], ["parked"], ["why", "v2"], ["rollback", "--plan"]])
def test_every_read_speaks_json(tmp_path: Path, verb: list[str]) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        place = [] if verb == ["parked"] else list(PLACE)
        ended = await enclii(console, tmp_path, *verb, *place, "-o", "json")
        assert ended.code == 0, ended.err
        assert isinstance(json.loads(ended.out), dict)

    with_console(tmp_path, story)


def test_an_unknown_service_is_exit_five_with_a_suggestion(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        ended = await enclii(console, tmp_path, "releases", "-s", "wbe")
        assert ended.code == 5
        assert "did you mean web?" in ended.err
        assert ended.out == ""

    with_console(tmp_path, story)


def test_an_environment_that_is_not_settled_is_asked_for(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        ended = await enclii(console, tmp_path, "rollback")
        assert ended.code == 2
        assert "production, staging" in ended.err

    with_console(tmp_path, story)


def test_a_rollback_waits_until_the_old_image_is_live_and_says_how_to_undo_it(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        running = asyncio.create_task(enclii(console, tmp_path, "rollback", "--reason", "errors", *PLACE))
        event = decode("rollback.requested", await next_event(console, "rollback.requested", running))
        assert isinstance(event, RollbackRequested)
        await decide(console, event.id, "accepted", "rolled_back")
        again = data.deployment(1, data.IMAGE1, data.SHA1, data.AT1, "progressing")
        await console.put(again, data.target(1, data.IMAGE1, data.SHA1, held=True))
        await console.put(data.live(1, data.IMAGE1, data.AT2))

        ended = await running

        assert (event.to, event.expected, event.why) == (1, "d-2", "errors")
        assert ended.code == 0, ended.err
        assert "v1 is live" in ended.out
        assert "Undo: enclii rollback --to v2" in ended.err
        assert "Release the hold: enclii resume -p shop" in ended.err

    with_console(tmp_path, story)


def test_a_refused_command_is_exit_six_with_its_reason(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        running = asyncio.create_task(enclii(console, tmp_path, "hold", *PLACE))
        event = decode("hold.requested", await next_event(console, "hold.requested", running))
        assert isinstance(event, HoldRequested)
        here = {"project": "shop", "environment": "production", "service": "web"}
        await decide(console, event.id, "refused", "already_held", **here)

        ended = await running

        assert ended.code == 6
        assert "  reason: already_held\n  live: v2 running, healthy\n  next: enclii status says by whom" in ended.err
        assert "; enclii why " in ended.err

    with_console(tmp_path, story)


def test_a_failed_rollback_with_the_old_release_still_live_is_exit_seven(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        running = asyncio.create_task(enclii(console, tmp_path, "rollback", *PLACE))
        event = decode("rollback.requested", await next_event(console, "rollback.requested", running))
        await decide(console, event.id, "accepted", "rolled_back")
        failed = data.deployment(1, data.IMAGE1, data.SHA1, data.AT1, "failed")
        await console.put(failed, data.target(1, data.IMAGE1, data.SHA1))

        ended = await running

        assert ended.code == 7, ended.err
        assert "v2 is still live" in ended.err

    with_console(tmp_path, story)


def test_what_failed_before_a_rollback_does_not_fail_it(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop(), data.deployment(2, data.IMAGE2, data.SHA2, data.AT2, "failed"))
        await console.put(data.live(1, data.IMAGE1, data.AT1))
        running = asyncio.create_task(enclii(console, tmp_path, "rollback", *PLACE))
        event = decode("rollback.requested", await next_event(console, "rollback.requested", running))
        await decide(console, event.id, "accepted", "rolled_back")
        await console.put(data.deployment(1, data.IMAGE1, data.SHA1, data.AT1, "running"))
        await console.put(data.target(1, data.IMAGE1, data.SHA1))

        ended = await running

        assert ended.code == 0, ended.err

    with_console(tmp_path, story)


def test_a_hold_without_a_service_is_decided_for_each(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        running = asyncio.create_task(enclii(console, tmp_path, "hold", "-e", "production"))
        event = decode("hold.requested", await next_event(console, "hold.requested", running))
        await decide(console, f"{event.id}/web", "accepted", "held")

        ended = await running

        assert (ended.code, ended.out) == (0, "because\n"), ended.err
        assert ended.err.splitlines()[-1] == f"Trace: enclii trace {event.id}"

    with_console(tmp_path, story)


def test_linking_says_what_to_paste_into_github(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        running = asyncio.create_task(enclii(console, tmp_path, "link", "https://github.com/Owner/Shop.git"))
        event = decode("link.requested", await next_event(console, "link.requested", running))
        assert isinstance(event, LinkRequested)
        url = "https://github.com/Owner/Shop.git"
        known = Repository(
            id=event.repository, project="shop", name="shop", forge="github", url=url, hook=event.hook
        )  # fmt: skip
        await console.put(known)
        await decide(console, event.id, "accepted", "linked")

        ended = await running

        assert (event.repository, event.project, event.url) == ("github:owner/shop", "shop", url)
        assert ended.code == 0, ended.err
        assert f"https://hooks.example.test/hooks/github/{event.hook}\n" in ended.err
        assert hook_secret("root", event.hook) in ended.err

    with_console(tmp_path, story)


def test_watching_prints_one_line_per_change(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop(), data.run(3, "running"), data.job(3, "building"))
        watching = asyncio.create_task(enclii(console, tmp_path, "status", "--watch"))
        await console.put(data.job(3, "deployed"), data.run(3, "succeeded"))

        ended = await watching

        assert ended.code == 0, ended.err
        assert ended.out.splitlines() == ["web  deployed"]

    with_console(tmp_path, story)


def test_a_run_is_not_finished_between_a_job_and_its_deployment(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        deployed = msgspec.structs.replace(data.job(3, "deployed"), finished_at=now())
        await console.put(*data.shop(), data.run(3, "running"), deployed)
        between = await console.get("/v1/runs/r-3")
        await console.put(data.deployment(3, data.IMAGE2, data.SHA2, data.AT2, "running"))

        assert between["finished"] is False
        assert (await console.get("/v1/runs/r-3"))["finished"] is True

    with_console(tmp_path, story)


def test_watching_waits_for_the_run_that_the_push_named(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        watching = asyncio.create_task(enclii(console, tmp_path, "status", "--watch", "-p", "shop", "--run", "r-3"))
        await console.put(*data.shop())
        await console.put(data.run(3, "succeeded"), data.job(3, "deployed"))

        ended = await watching

        assert ended.code == 0, ended.err
        assert ended.err.startswith("run r-3")

    with_console(tmp_path, story)


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("releases", "-s", "wbe"), 5, "no_such_service"),
        (("rollback", *PLACE, "--to", "9"), 6, "nothing_to_roll_back_to"),
        (("rollback", "--to", "x41"), 2, "usage"),
    ],
)
def test_an_error_is_a_problem_when_json_is_wanted(
    tmp_path: Path, arguments: tuple[str, ...], code: int, reason: str
) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        ended = await enclii(console, tmp_path, *arguments, "-o", "json")
        told = json.loads(ended.err)
        assert (ended.code, told["exit_code"], told["reason_code"]) == (code, code, reason)
        assert ended.out == ""

    with_console(tmp_path, story)


def test_a_release_is_deployed_by_its_number(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        running = asyncio.create_task(enclii(console, tmp_path, "deploy", "v1", *PLACE))
        event = decode("deploy.requested", await next_event(console, "deploy.requested", running))
        await decide(console, event.id, "accepted", "deployed")

        assert isinstance(event, DeployRequested)
        assert event.release == "shop.web.v1"
        assert (await running).code == 0

    with_console(tmp_path, story)


def test_the_newest_release_is_deployed_where_none_is_named(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        running = asyncio.create_task(enclii(console, tmp_path, "deploy", *PLACE))
        event = decode("deploy.requested", await next_event(console, "deploy.requested", running))
        await decide(console, event.id, "accepted", "deployed")

        assert isinstance(event, DeployRequested)
        assert (event.release, (await running).code) == ("shop.web.v2", 0)

    with_console(tmp_path, story)


@pytest.mark.parametrize(("goal", "code", "said"), [(data.SHA1[:8], 0, "v2 → v1"), ("fedcba98", 5, "no_such_release")])
def test_a_rollback_finds_a_release_by_its_commit(tmp_path: Path, goal: str, code: int, said: str) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        ended = await enclii(console, tmp_path, "rollback", "--plan", "--to", goal, *PLACE)
        assert (ended.code, said in ended.out + ended.err) == (code, True), ended

    with_console(tmp_path, story)


def test_a_release_that_does_not_exist_is_not_deployed(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        ended = await enclii(console, tmp_path, "deploy", "v9", *PLACE)
        assert (ended.code, "no_such_release" in ended.err) == (5, True)

    with_console(tmp_path, story)


def test_the_plan_of_a_rollback_shows_what_the_containers_have_otherwise(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        spec = b'{"name":"web","replicas":3,"env":{"LEVEL":"debug"},"environments":{"production":{"replicas":4}}}'
        newer = msgspec.structs.replace(data.release(2, data.IMAGE2, data.SHA2, data.AT2), spec=msgspec.Raw(spec))
        await console.put(*data.shop(), newer)
        ended = await enclii(console, tmp_path, "rollback", "--plan", *PLACE, "-o", "json")
        shown = await enclii(console, tmp_path, "rollback", "--plan", *PLACE)
        changes = {one["field"]: (one["from"], one["to"]) for one in json.loads(ended.out)["changes"]}
        assert changes == {
            "image": (data.IMAGE2, data.IMAGE1), "replicas": (4, 2), "env.LEVEL": ("debug", None),
        }  # fmt: skip
        assert "env.LEVEL debug → none" in shown.out

    with_console(tmp_path, story)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("resume", *PLACE), "not_held"),
        (("rollback", *PLACE, "--to", "2"), "already_deployed"),
        (("destroy", "--yes", "-p", "shop", "-s", "web", "-e", "staging"), "nothing_deployed"),
        (("cancel", "r-2"), "run_ended"),
    ],
)
def test_what_cannot_be_done_is_refused_at_once(tmp_path: Path, arguments: tuple[str, ...], reason: str) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        ended = await enclii(console, tmp_path, *arguments)
        assert (ended.code, f"  reason: {reason}\n" in ended.err) == (6, True), ended.err

    with_console(tmp_path, story)


def test_a_refusal_at_once_needs_what_the_store_says_now_and_spares_the_same_request_again(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop(), data.target(2, data.IMAGE2, data.SHA2, held=True, hold_by="ann"))
        body = {**data.PLACE, "why": "again"}
        first = await console.post("/v1/resumes", body, key="c-once")
        refused = await console.failure_of("/v1/holds", body)
        waits = await console.failure_of("/v1/deploys", {**data.PLACE, "release": "shop.web.v1"})
        await console.put(data.target(2, data.IMAGE2, data.SHA2))

        assert (refused.reason, refused.message) == ("already_held", "web is held already by ann")
        assert waits.message.endswith("resume it first: enclii resume -p shop -e production -s web")
        assert await console.post("/v1/resumes", body, key="c-once") == first
        assert (await console.failure_of("/v1/resumes", body)).reason == "not_held"

    with_console(tmp_path, story)
