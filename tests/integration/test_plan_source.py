"""Whose repository a wish to deploy a commit may be planned from."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pygit2

from pipeline.bus import connect
from pipeline.errors import EncliiError
from pipeline.events import Delivery, DeployRequested
from pipeline.mirror import Mirror
from pipeline.records import Decision, Repository
from pipeline.registry import Registry
from pipeline.stages.plan import Planner
from pipeline.store import Change, Step, Store
from tests.support.components import needs
from tests.support.nats import running_nats

CRAFTED = (
    "../../../etc/passwd", "..", "-x", "--upload-pack=touch /tmp/x", "a b", "a\nb", "a\x00b", "*", ">", "a.>", "@{-1}",
    "$(id)", "a;b", "a.lock", "~root", "%2e%2e", "é", "a" * 5000, "",
)  # fmt: skip


async def _unreached(repository: Repository) -> object:
    raise AssertionError(f"{repository.id} was opened")


def test_a_commit_of_another_project_s_repository_is_not_planned(tmp_path: Path) -> None:
    async def story(url: str) -> None:
        bus = await connect(url, name="test", wait=60.0)
        await bus.create_streams()
        store = Store(bus, "test")
        other = Repository(id="local:other/other", project="other", name="other", forge="local", url="http://h/o.git")
        await store.commit(Step((Change(other, None),)))
        asked = DeployRequested(
            id="c-1", project="shop", environment="staging", sha="1" * 40, repository=other.id, ref="refs/heads/main"
        )
        async with Registry("127.0.0.1:1", plain_http=True) as registry:
            step = await Planner(store, registry, _unreached).handle(asked)  # type: ignore[arg-type]
        await bus.close()

        [decision] = [change.record for change in step.changes]
        assert isinstance(decision, Decision)
        assert (decision.outcome, decision.reason, decision.project) == ("refused", "other_project", "shop")
        assert not step.events

    with running_nats(tmp_path) as url:
        asyncio.run(story(url))


def test_a_branch_s_name_ends_in_a_decision_whatever_it_holds_and_becomes_no_path(tmp_path: Path) -> None:
    needs("git")
    (tmp_path / "room").mkdir()
    remote = tmp_path / "remote.git"
    pygit2.init_repository(str(remote), bare=True)
    shop = Repository(id="github:o/shop", project="shop", name="shop", forge="github", url=remote.as_uri())

    async def opened(_: Repository) -> Mirror:
        return Mirror(tmp_path / "room/mirror.git", shop.url)

    async def decided(planner: Planner, delivery: Delivery) -> tuple[Decision, int]:
        """How the stage decides, as its worker does: what it refuses is recorded as refused."""
        try:
            step = await planner.handle(delivery)
        except EncliiError as error:
            step = await planner.failed(delivery, error)
        [decision] = [one.record for one in step.changes if isinstance(one.record, Decision)]
        return decision, len(step.events)

    async def story(url: str) -> None:
        bus = await connect(url, name="test")
        await bus.create_streams()
        store = Store(bus, "test")
        await store.commit(Step((Change(shop, None),)))
        async with Registry("127.0.0.1:1", plain_http=True) as registry:
            planner = Planner(store, registry, opened)
            for number, text in enumerate(CRAFTED):
                for ref in (f"refs/heads/{text}", text):
                    said = Delivery(
                        id=f"github:h:{number}", forge="github", kind="push", repository=shop.id, ref=ref, after=text
                    )
                    decision, events = await decided(planner, said)
                    assert (decision.outcome in {"refused", "skipped"}, bool(decision.reason), events) == (
                        True,
                        True,
                        0,
                    )
        await bus.close()

    with running_nats(tmp_path / "nats") as url:
        asyncio.run(story(url))
    assert [path.name for path in (tmp_path / "room").iterdir()] in ([], ["mirror.git"])
