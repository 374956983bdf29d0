"""Whose repository a wish to deploy a commit may be planned from."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pipeline.bus import connect
from pipeline.events import DeployRequested
from pipeline.records import Decision, Repository
from pipeline.registry import Registry
from pipeline.stages.plan import Planner
from pipeline.store import Change, Step, Store
from tests.support.nats import running_nats


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
