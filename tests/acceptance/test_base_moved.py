"""A base image moves under what is deployed: it is built again, once, and says why."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.test_push import runs
from tests.support.images import push_sample
from tests.support.line import commit, eventually, git, running_line, sample

HOST = "web.shop.localhost"


def test_what_stands_on_a_base_image_that_moved_is_built_again_once(tmp_path: Path) -> None:
    with running_line(tmp_path / "home", {"REBUILD": "1s"}) as line:
        push_sample(line.registry, "bases/site", page="the first base", tag="1")
        shop = tmp_path / "shop"
        sample(shop, "of our own\n")
        (shop / "Dockerfile").write_text(f"FROM {line.registry}/bases/site:1\nCOPY index.html /www/own.html\n")
        sha = commit(shop, "Stand on a base")
        git("push", line.url("shop/shop"), "main", cwd=shop)
        eventually(lambda: runs(line, "v1"), what="v1 runs")
        assert line.page(HOST).strip() == "the first base"

        push_sample(line.registry, "bases/site", page="the second base", tag="1")
        eventually(lambda: runs(line, "v2"), what="v2 runs")

        assert line.page(HOST).strip() == "the second base"
        decisions = line.api(f"/v1/why/{sha}")["decisions"]
        moved = [one for one in decisions if one["reason"] == "base_moved"]
        assert [one["message"] for one in moved] == [f"{line.registry}/bases/site:1 moved since v1 was built"]
        assert len(line.api("/v1/runs?project=shop")["runs"]) == 2
