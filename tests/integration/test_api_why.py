"""What the API answers to ``why``: the decision, and how it ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.records import Decision
from tests.integration import console_records as data
from tests.integration.console_server import Console, with_console


def test_why_finds_a_decision_by_the_start_of_a_commit(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        decision = Decision(
            id="del-2", about="delivery", outcome="skipped", reason="no_change", message="-", sha=data.SHA2
        )
        await console.put(*data.shop(), decision)

        found = await console.get("/v1/why/" + data.SHA2[:7])

        assert [d["reason"] for d in found["decisions"]] == ["no_change"]
        assert [d["id"] for d in found["deployments"]] == ["d-2"]

    with_console(tmp_path, story)


@pytest.mark.parametrize("wanted", ["del-2", "r-2", data.SHA2, "shop.web.v2", "d-2", "2" * 40, "k-7"])
def test_why_tells_how_it_ended_whatever_is_asked_for(tmp_path: Path, wanted: str) -> None:
    async def story(console: Console) -> None:
        planned = Decision(id="del-2", about="delivery", outcome="accepted", reason="planned", message="-", run="r-2")
        end = Decision(
            id="d-2", about="deployment", outcome="failed", reason="unhealthy", message="-", service="web", run="r-2",
            release="shop.web.v2",
        )  # fmt: skip
        command = Decision(
            id="k-7/web", about="command", outcome="accepted", reason="deployed", message="-", release="shop.web.v2"
        )
        await console.put(*data.shop(), planned, end, command)

        found = await console.get("/v1/why/" + wanted)

        assert "unhealthy" in [one["reason"] for one in found["decisions"]]
        assert [one["id"] for one in found["deployments"]] == ["d-2"]

    with_console(tmp_path, story)


def test_why_of_a_release_leaves_out_the_other_services_of_its_run(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        other = Decision(
            id="r-2/api", about="job", outcome="failed", reason="boom", message="-", service="api", run="r-2"
        )
        await console.put(*data.shop(), other)

        assert (await console.get("/v1/why/shop.web.v2"))["decisions"] == []
        assert [one["id"] for one in (await console.get("/v1/why/r-2"))["decisions"]] == ["r-2/api"]

    with_console(tmp_path, story)
