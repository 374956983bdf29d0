"""Previews on a real store: what forges and people say of them, what their time does (docs/previews.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import msgspec
import pytest
from msgspec.structs import replace

from pipeline import jobs
from pipeline.errors import Refused, Unavailable
from pipeline.events import PreviewChanged, PullRequestChanged
from pipeline.main import in_background
from pipeline.names import token
from pipeline.preview_life import Limits, due
from pipeline.previews import Activity, Preview, PullRequest
from pipeline.records import Job, Live, Target
from pipeline.store import Change, Step, now
from tests.support.nats import running_nats
from tests.support.preview_world import ONE, TWO, world


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_nats(tmp_path_factory.mktemp("nats")) as url:
        yield url


def test_rules_8_and_9_a_fork_is_built_by_approval_of_its_whole_head_alone(nats: str) -> None:
    async def story() -> None:
        async with world(nats, "fork", automatic=True) as at:
            await at.pull(fork=True, head_repository="github:other")
            assert (await at.there()).reason == "approval_needed"
            assert (await at.there()).run == ""
            assert (await at.ask("up")).reason == "approval_needed"
            assert (await at.ask("approve", sha=TWO)).reason == "stale_sha"
            assert (await at.ask("approve", sha="")).reason == "short_sha"

            assert (await at.ask("approve", sha=ONE)).outcome == "accepted"
            built = await at.there()
            assert (built.state, built.sha, built.approved, built.approved_by) == ("building", ONE, ONE, "ada")
            assert built.ref is not None
            assert built.ref.fork

            await at.pull(action="pushed", head=TWO, fork=True, head_repository="github:other")
            waits = await at.there()
            assert (waits.state, waits.reason, waits.sha) == ("waiting", "approval_needed", ONE)
            assert TWO in waits.message
            assert waits.newest == TWO
            assert (await at.ask("approve", sha=ONE)).reason == "stale_sha"
            assert (await at.ask("approve", sha=TWO)).outcome == "accepted"
            assert ((await at.there()).sha, (await at.there()).head) == (TWO, "")

    asyncio.run(story())


def test_rule_7_a_head_whose_repository_is_gone_is_a_forks(nats: str) -> None:
    async def story() -> None:
        async with world(nats, "gone") as at:
            await at.pull(head_repository="", fork=False)
            assert (await at.ask("up")).reason == "approval_needed"

    asyncio.run(story())


def test_rule_10_a_head_that_moved_since_it_was_seen_is_refused(nats: str) -> None:
    async def story() -> None:
        async with world(nats, "moved") as at:
            await at.pull()
            assert (await at.ask("up", sha=TWO)).reason == "ref_changed"
            assert (await at.ask("up", sha=ONE)).outcome == "accepted"

    asyncio.run(story())


def test_rule_19_a_close_counts_by_repository_and_number_alone(nats: str) -> None:
    async def story() -> None:
        async with world(nats, "closed") as at:
            await at.pull()
            await at.ask("up")
            building = await at.there()
            await at.pull(action="closed", state="closed", base="another", head=TWO, fork=True, draft=True)
            closed = await at.there()
            assert (closed.state, closed.reason) == ("removing", "closed")
            stop = await jobs.why_stop(at.store, building.run)
            assert stop is not None
            assert stop[:2] == ("cancelled", "preview_closed")

            await at.pull(action="reopened", head=TWO)
            assert (await at.ask("up")).reason == "being_removed"
            await at.store.commit(await jobs.ended_step(
                at.store, await at.store.get(Job, building.run, "web"), *stop,  # type: ignore[arg-type]
            ))  # fmt: skip
            await at.watcher().look(closed.key)
            assert (await at.there()).state == "removed"
            assert (await at.ask("up")).outcome == "accepted"
            assert (await at.there()).created_at != building.created_at

    asyncio.run(story())


def test_rule_19_one_that_is_opened_again_while_it_is_removed_begins_anew_when_it_is_gone(nats: str) -> None:
    async def story() -> None:
        async with world(nats, "reopened", automatic=True) as at:
            await at.pull()
            first = await at.there()
            await at.end_job(first)
            await at.pull(action="closed", state="closed")
            await at.pull(action="reopened", head=TWO)
            assert (await at.there()).state == "removing"
            await at.watcher().look(first.key)
            assert (await at.there()).state == "removed"
            told = await at.store.bus.get(f"ev.pull_request.changed.{token(f'{first.id}/{first.created_at}/again')}")
            assert told is not None
            await at.say(msgspec.json.decode(told.data, type=PullRequestChanged))
            again = await at.there()
            assert (again.state, again.sha) == ("building", TWO)
            assert again.created_at != first.created_at

    asyncio.run(story())


@pytest.mark.parametrize("word", ["moved", "older"])
def test_rule_19_a_transfer_ends_it_and_a_late_word_does_not(nats: str, word: str) -> None:
    async def story() -> None:
        async with world(nats, f"word-{word}") as at:
            await at.pull(updated_at="2026-02-01T00:00:00Z")
            await at.ask("up")
            if word == "moved":
                await at.pull(action="moved", updated_at="2026-02-02T00:00:00Z")
            else:
                await at.pull(action="closed", state="closed", updated_at="2026-01-31T00:00:00Z")
            assert (await at.there()).state == ("removing" if word == "moved" else "building")

    asyncio.run(story())


def test_rule_10_a_head_is_as_old_as_the_first_word_of_it(nats: str) -> None:
    """GitLab writes its times otherwise, and what changes beside the head makes it no younger."""

    async def story() -> None:
        async with world(nats, "seen") as at:
            for said, head, seen in (
                ("2017-12-10 17:01:11 UTC", ONE, "2017-12-10 17:01:11 UTC"),
                ("2017-12-10 17:05:00 UTC", ONE, "2017-12-10 17:01:11 UTC"),
                ("2017-12-10 17:04:00 UTC", TWO, "2017-12-10 17:01:11 UTC"),  # late: not the head any more
                ("2017-12-10T17:06:00.5Z", TWO, "2017-12-10T17:06:00.5Z"),
            ):
                await at.pull(action="pushed", head=head, updated_at=said)
                found = await at.store.get(PullRequest, at.origin, "12")
                assert found is not None
                assert found.record.head_at == seen

    asyncio.run(story())


def test_rule_21_the_newest_head_wins_and_drafts_are_built_on_command_alone(nats: str) -> None:
    async def story() -> None:
        async with world(nats, "newest", automatic=True) as at:
            await at.pull(draft=True)
            assert await at.preview() is None
            await at.ask("up")
            first = await at.there()
            await at.pull(action="pushed", head=TWO, draft=True)
            second = await at.there()
            assert (second.sha, second.state) == (TWO, "building")
            stop = await jobs.why_stop(at.store, first.run)
            assert stop is not None
            assert stop[0] == "superseded"
            assert await jobs.why_stop(at.store, second.run) is None

    asyncio.run(story())


def test_rule_24_a_command_is_obeyed_once_and_kept_with_who_gave_it(nats: str) -> None:
    async def story() -> None:
        async with world(nats, "once") as at:
            await at.pull()
            said = await at.ask("up")
            first = await at.there()
            at.count -= 1
            assert await at.ask("up", sha=TWO) == said
            assert await at.there() == first
            assert (said.actor, said.outcome) == ("ada", "accepted")

    asyncio.run(story())


def test_rule_20_at_the_cap_the_next_one_waits_for_its_turn(nats: str) -> None:
    async def story() -> None:
        async with world(nats, "cap", limits=Limits(cap=1, cap_all=1_000)) as at:
            for number in (1, 2):
                await at.pull(number=number)
                await at.ask("up", number=number)
            assert ((await at.there(1)).state, (await at.there(2)).reason) == ("building", "cap")
            await at.ask("up", number=2)  # saying it again makes no place
            assert (await at.there(2)).reason == "cap"

            idle = replace(await at.there(1), active_at=due(now(), -90_000))
            await at.store.commit(Step((Change(idle, None),)))
            await at.watcher().sweep()
            assert ((await at.there(1)).state, (await at.there(1)).reason) == ("removing", "evicted")
            await at.watcher().sweep()
            assert (await at.there(2)).state == "building"

    asyncio.run(story())


def test_rule_20_idle_ones_are_warned_of_and_removed_and_a_request_renews_them(nats: str) -> None:
    async def story() -> None:
        async with world(nats, "idle", limits=Limits(idle=10_000, cap_all=1_000)) as at:
            await at.pull()
            await at.ask("up")

            async def after(seconds: float) -> Preview:
                old = replace(await at.there(), active_at=due(now(), -seconds), warned_at="", state="building")
                await at.store.commit(Step((Change(replace(old, expires_at=due(now(), 10_000 - seconds)), None),)))
                await at.watcher().sweep()
                return await at.there()

            assert (await after(9_500)).warned_at
            await at.store.commit(Step((Change(Activity(host="h", at=now()), None),)))
            renewed = await after(9_500)
            assert (renewed.warned_at, renewed.state) == ("", "building")
            await at.store.commit(Step((Change(Activity(host="h", at=due(now(), -20_000)), None),)))
            await at.ask("extend", seconds=3_600.0)
            assert (await after(9_000)).state == "building"
            pinned = replace(await at.there(), pinned_until="")
            await at.store.commit(Step((Change(pinned, None),)))
            assert (await after(10_001)).reason == "expired"

    asyncio.run(story())


def test_rule_19_it_is_removed_when_nothing_is_left_and_not_before(nats: str) -> None:
    async def story() -> None:
        async with world(nats, "left") as at:
            await at.pull()
            await at.ask("up")
            one = await at.there()
            job = await at.store.get(Job, one.run, "web")
            assert job is not None
            place = {"project": "left", "environment": one.environment, "service": "web"}
            live = Live(**place, deployment="d", release="r", image="i", status="running", health="healthy", ready=1,
                        desired=1)  # fmt: skip
            target = Target(**place, deployment="d", release="r", image="i", sha=ONE, config_commit="c")
            done = replace(job.record, status="deployed")
            await at.store.commit(Step((Change(done, job.seq), Change(live), Change(target))))
            await at.ask("down")
            for record, left in (
                (replace(target, deployment=""), ["cluster: web"]),
                (replace(live, deployment="", removed="b"), ["cluster: web"]),  # an earlier life of it
                (replace(live, deployment="", removed="c"), []),
            ):
                assert (await at.there()).state == "removing"
                await at.store.commit(Step((Change(record, None),)))
                assert await at.watcher().left(await at.there()) == left
                await at.watcher().look(one.key)
                assert (await at.there()).left == tuple(left)
            assert (await at.there()).state == "removed"

    asyncio.run(story())


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (Refused("no", reason="registry_refused"), "registry_refused"),
        (Unavailable("no", reason="registry_away"), "registry_away"),
        (ValueError("no"), "unexpected"),
    ],
)
def test_a_removal_that_fails_is_said_on_its_record_and_tried_again(nats: str, wrong: Exception, reason: str) -> None:
    async def refuses(_: Preview) -> int:
        raise wrong

    async def story() -> None:
        async with world(nats, f"stuck-{reason.replace('_', '-')}") as at:
            await at.pull()
            one = await at.removing()
            await at.watcher(refuses).look(one.key)
            await at.watcher(refuses).sweep()
            stuck = await at.there()
            assert (stuck.state, stuck.reason) == ("removing", "asked")
            assert reason in stuck.message
            await at.watcher().sweep()
            assert (await at.there()).state == "removed"

    asyncio.run(story())


def test_a_preview_with_a_bad_record_does_not_hold_up_the_others(nats: str) -> None:
    async def story() -> None:
        async with world(nats, "bad") as at:
            for number in (1, 2):
                await at.pull(number=number)
                await at.ask("up", number=number)
            bad = replace(await at.there(1), active_at="yesterday")
            old = replace(await at.there(2), expires_at=due(now(), -1), active_at=due(now(), -1e6), services=())
            await at.store.commit(Step((Change(bad, None), Change(old, None))))
            await at.watcher().sweep()
            assert await at.there(1) == bad
            assert (await at.there(2)).reason == "expired"
            await at.store.commit(Step((Change(replace(bad, active_at=now()), None),)))

    asyncio.run(story())


def test_a_request_is_not_noted_while_the_event_store_is_away_and_ends_nothing(nats: str) -> None:
    async def story() -> None:
        async with world(nats, "hits") as at:
            await at.pull()
            await at.ask("up")
            watcher = at.watcher()
            async with in_background(watcher.follow()), asyncio.timeout(60):
                while await watcher.heard(b"h") != b"ok":  # noqa: ASYNC110 - it follows the records
                    await asyncio.sleep(0.01)
            await at.store.bus.close()
            assert await watcher.heard(b"h") == b""

    asyncio.run(story())


def test_one_removal_at_a_time_and_none_of_a_new_life(nats: str) -> None:
    async def story() -> None:
        async with world(nats, "twice") as at:
            await at.pull()
            one = await at.removing()
            shed = list[str]()

            async def counts(preview: Preview) -> int:
                shed.append(preview.state)
                await asyncio.sleep(0.05)
                return 0

            watcher = at.watcher(counts)
            await asyncio.gather(*(watcher.look(one.key) for _ in range(3)))
            assert shed == ["removing"]
            assert (await at.there()).state == "removed"

    asyncio.run(story())


def test_what_no_record_knows_is_taken_out_of_git_and_a_preview_made_meanwhile_is_not(nats: str) -> None:
    async def story() -> None:
        async with world(nats, "orphan") as at:
            await at.pull()
            await at.removing()

            def target(environment: str) -> Change:
                return Change(Target(project="orphan", environment=environment, service="web", deployment="d",
                                     release="r", image="i", sha=ONE, config_commit="c"))  # fmt: skip

            async def meanwhile(_: Preview) -> int:
                await at.pull(number=13)
                await at.ask("up", number=13)
                await at.store.commit(Step((target("preview-13"), target("preview-lost"))))
                return 0

            await at.watcher(meanwhile).sweep()
            told = [
                await at.store.bus.get(f"ev.{PreviewChanged.type}.{token(f'orphan.{name}/c/orphan')}")
                for name in ("preview-13", "preview-lost")
            ]
            assert [event is not None for event in told] == [False, True]

    asyncio.run(story())


def test_one_that_waits_keeps_its_place_while_its_forge_is_away(nats: str) -> None:
    async def story() -> None:
        async with world(nats, "away", limits=Limits(cap=1, cap_all=1_000)) as at:
            for number in (1, 2):
                await at.pull(number=number)
                await at.ask("up", number=number)
            await at.ask("down", number=1)
            at.sources.away = True
            await at.watcher().sweep()
            assert ((await at.there(2)).state, (await at.there(2)).reason) == ("waiting", "cap")
            at.sources.away = False
            await at.watcher().sweep()
            assert (await at.there(2)).state == "building"

    asyncio.run(story())
