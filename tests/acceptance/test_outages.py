"""What the line stands on goes away in the middle, and two people act at once: each story ends, and is told."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.components import absent, needs
from tests.support.line import Line, commit, eventually, git, sample
from tests.support.stores import Restartable, event_store, image_store

LIMIT = 180.0
FORMED = "services:\n  web:\n    port: 8080\n    health: /index.html\n"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Restartable]:
    needs("podman", "buildah", "docker-registry", "nats-server", "git", "syft")
    store = image_store(tmp_path_factory.mktemp("registry"))
    yield store
    store.end()


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory, registry: Restartable) -> Iterator[Line]:
    nats = event_store(tmp_path_factory.mktemp("nats"))
    found = Line(tmp_path_factory.mktemp("line"), nats.address, registry.address)
    try:
        found.start()
        eventually(found.listens, what="all processes listen")
        yield found
    finally:
        found.end()
        nats.end()


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    sample(tmp_path / "shop", "nothing yet\n")
    (tmp_path / "shop/enclii.yaml").write_text(FORMED)
    return tmp_path / "shop"


def test_a_registry_that_is_away_for_long_makes_a_push_later_and_nothing_else(
    line: Line, registry: Restartable, shop: Path
) -> None:
    _deployed(line, shop, "unstored", "one", "v1")
    line.kill("builder")
    _push(line, shop, "unstored", "two")
    eventually(lambda: _jobs(line, "unstored"), what="the push is planned")
    registry.kill()
    try:
        line.start("builder")
        eventually(lambda: _complaints(line, "builder") >= 3, limit=LIMIT, what="the builder tried three times")
        assert line.page("web.unstored.localhost") == "one\n"
    finally:
        registry.again()

    eventually(lambda: _runs(line, "unstored", "v2"), limit=LIMIT, what="v2 runs")
    assert [one["version"] for one in line.api("/v1/services/unstored.web/releases")["releases"]] == ["v2", "v1"]


def test_a_git_remote_that_is_away_when_a_release_is_committed_makes_it_later(line: Line, shop: Path) -> None:
    _deployed(line, shop, "unheard", "one", "v1")
    line.kill("builder")
    _push(line, shop, "unheard", "two")
    eventually(lambda: _jobs(line, "unheard"), what="the push is planned")
    line.kill("githost")
    line.start("builder")
    eventually(lambda: _jobs(line, "unheard")[0]["status"] == "committing", limit=LIMIT, what="the release is ready")
    eventually(lambda: _complaints(line, "committer"), limit=LIMIT, what="the committer tried")
    assert line.page("web.unheard.localhost") == "one\n"

    line.start("githost")
    eventually(lambda: _runs(line, "unheard", "v2"), limit=LIMIT, what="v2 runs")


def test_a_podman_that_does_not_answer_leaves_what_runs_and_is_waited_for(line: Line, shop: Path) -> None:
    configuration = line.home / "syncer/containers.conf"
    if not configuration.exists():
        absent("podman takes no configuration of ours on this machine, so it cannot be broken for the line alone")
    _deployed(line, shop, "unmoved", "one", "v1")
    good, quiet = configuration.read_text(), _complaints(line, "syncer")
    configuration.write_text("this is no configuration")
    try:
        _push(line, shop, "unmoved", "two")
        eventually(lambda: _complaints(line, "syncer") > quiet + 1, limit=LIMIT, what="the syncer tried again")
        assert line.page("web.unmoved.localhost") == "one\n"
    finally:
        configuration.write_text(good)

    eventually(lambda: _runs(line, "unmoved", "v2"), limit=LIMIT, what="v2 runs")


def test_of_two_operators_who_roll_back_at_once_one_is_told_that_the_other_was_faster(line: Line, shop: Path) -> None:
    for number, page in enumerate(("one", "two", "three"), 1):
        _deployed(line, shop, "twice", page, f"v{number}")
    plan = line.api("/v1/services/twice.web/rollback-plan?environment=production")
    wish = {"project": "twice", "environment": "production", "service": "web", "expected": plan["expected"]}
    with concurrent.futures.ThreadPoolExecutor(2) as both:
        asked = list(both.map(lambda _: line.api("/v1/rollbacks", wish)["command"], range(2)))
    ended = [line.api(f"/v1/commands/{command}?wait=8")["decision"] for command in asked]

    assert sorted((one["outcome"], one["reason"]) for one in ended) == [
        ("accepted", "rolled_back"),
        ("refused", "moved_meanwhile"),
    ]
    eventually(lambda: _runs(line, "twice", "v2"), limit=LIMIT, what="v2 runs")
    assert next(one for one in _log(line, shop) if "twice/web" in one) == "Revert twice/web in production to v2"


def _deployed(line: Line, shop: Path, project: str, page: str, version: str) -> None:
    _push(line, shop, project, page)
    eventually(lambda: _runs(line, project, version), limit=LIMIT, what=f"{project} {version} runs")


def _push(line: Line, shop: Path, project: str, page: str) -> None:
    (shop / "index.html").write_text(f"{page}\n")
    commit(shop, f"Page {page}")
    git("push", line.url(f"{project}/shop"), "main", cwd=shop)


def _jobs(line: Line, project: str) -> list[dict[str, Any]]:
    newest = line.api(f"/v1/runs?project={project}&limit=1")["runs"]
    jobs: list[dict[str, Any]] = line.api(f"/v1/runs/{newest[0]['id']}")["jobs"]
    return [job for job in jobs if job["status"] not in ("deployed", "failed")]


def _runs(line: Line, project: str, version: str) -> bool:
    services = line.api(f"/v1/projects/{project}/services?environment=production&include_status=true")["services"]
    now = services[0]["current_deployment"] if services else None
    return bool(now) and (now["version"], now["status"]) == (version, "running")


def _complaints(line: Line, process: str) -> int:
    return line.log(process).count('"level": "warning"')


def _log(line: Line, shop: Path) -> list[str]:
    git("fetch", "-q", line.url("enclii/config"), "main", cwd=shop)
    return git("log", "--format=%s", "FETCH_HEAD", cwd=shop).splitlines()
