"""The event store is lost with its disk: git has it all, and the next release is the next number."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.components import needs
from tests.support.line import COMMANDS, Line, commit, eventually, git, sample
from tests.support.stores import Restartable, event_store, image_store


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[Restartable]:
    needs("podman", "buildah", "docker-registry", "nats-server", "git", "syft")
    store = event_store(tmp_path / "nats")
    yield store
    store.end()


@pytest.fixture
def line(tmp_path: Path, nats: Restartable) -> Iterator[Line]:
    images = image_store(tmp_path / "registry")
    found = Line(tmp_path / "home", nats.address, images.address)
    found.home.mkdir()
    try:
        found.start()
        eventually(found.listens, what="all processes listen")
        yield found
    finally:
        found.end()
        images.end()


def test_a_line_that_lost_its_event_store_goes_on_with_the_next_number(
    line: Line, nats: Restartable, tmp_path: Path
) -> None:
    sample(tmp_path / "shop", "one\n")
    git("push", line.url("shop/shop"), "main", cwd=tmp_path / "shop")
    eventually(lambda: _live(line) == "v1", what="v1 runs")
    _push(line, tmp_path / "shop", "two")
    eventually(lambda: _live(line) == "v2", what="v2 runs")
    before = _releases(line)

    for name in COMMANDS:
        line.kill(name)
    nats.kill()
    shutil.rmtree(tmp_path / "nats" / "jetstream")
    nats.again()
    line.start()
    eventually(line.listens, what="all processes listen")

    eventually(lambda: _live(line) == "v2", what="v2 is found running again")
    eventually(
        lambda: [one["status"] for one in _releases(line)] == ["running", "replaced"], what="both releases are told"
    )
    found = _releases(line)
    assert [(one["version"], one["image_uri"], one["git_sha"]) for one in found] == [
        (one["version"], one["image_uri"], one["git_sha"]) for one in before
    ]
    plan = line.api("/v1/services/shop.web/rollback-plan?environment=production")
    assert (plan["to"], plan["recovered"], "nobody knows" in plan["warnings"][0]) == ("v1", True, True)
    _push(line, tmp_path / "shop", "three")
    eventually(lambda: _live(line) == "v3", what="v3 runs")
    assert line.page("web.shop.localhost") == "three\n"


def _push(line: Line, shop: Path, page: str) -> None:
    (shop / "index.html").write_text(f"{page}\n")
    commit(shop, f"Page {page}")
    git("push", line.url("shop/shop"), "main", cwd=shop)


def _live(line: Line) -> str:
    services = line.api("/v1/projects/shop/services?environment=production&include_status=true")["services"]
    now = services[0]["current_deployment"] if services else None
    return str(now["version"]) if now and now["status"] == "running" else ""


def _releases(line: Line) -> list[dict[str, Any]]:
    return list(line.api("/v1/services/shop.web/releases")["releases"])
