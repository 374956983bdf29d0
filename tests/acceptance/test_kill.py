"""The kill matrix: any process, killed at any moment of a push, and it still ends as one release in one commit.

All cases share one running line, each with a project of its own.
"""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.components import needs
from tests.support.line import Line, commit, eventually, git, sample
from tests.support.stores import Restartable, event_store, image_store

STAGES = ("planner", "builder", "signer", "committer", "syncer")
VICTIMS = (*STAGES, "githost", "door", "console")
LIMIT = 180.0
MOMENTS: dict[str, Callable[[Line, str], Any]] = {
    "pushed": lambda line, project: True,
    "built": lambda line, project: _job(line, project).get("status") not in {None, "queued", "building"},
    "released": lambda line, project: line.api(f"/v1/services/{project}.web/releases")["releases"],
    "committed": lambda line, project: line.api(f"/v1/services/{project}.web/deployments/latest")["deployment_id"],
}


class Stores:
    """The two servers below the line."""

    def __init__(self, home: Path) -> None:
        self.nats = event_store(home / "nats")
        self.registry = image_store(home / "registry")


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    needs("podman", "buildah", "docker-registry", "nats-server", "git", "syft")
    found = Stores(tmp_path_factory.mktemp("stores"))
    yield found
    found.registry.end()
    found.nats.end()


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory, stores: Stores) -> Iterator[Line]:
    line = Line(tmp_path_factory.mktemp("line"), stores.nats.address, stores.registry.address)
    try:
        line.start()
        eventually(line.listens, what="all processes listen")
        yield line
    finally:
        line.end()


@pytest.fixture(scope="module")
def died(line: Line, tmp_path_factory: pytest.TempPathFactory) -> frozenset[str]:
    """Every stage died at both of its boundaries while it worked on the project that bears its name."""
    folder = tmp_path_factory.mktemp("died")
    for name in STAGES:
        line.kill(name)
        line.start_as(name, "tests.support.dying", name, str(folder))
    for name in STAGES:
        _push(line, folder.parent / "sources" / name, f"dying-{name}")
    _die(line, STAGES, folder)
    return frozenset(mark.name for mark in folder.iterdir())


@pytest.mark.parametrize("victim", STAGES)
def test_a_death_before_and_one_behind_the_step_that_records_the_work_are_made_good(
    tmp_path: Path, line: Line, died: frozenset[str], victim: str
) -> None:
    assert {f"{victim}-before", f"{victim}-after"} <= died
    _comes_to_run(line, f"dying-{victim}")
    _exactly_one(line, tmp_path, f"dying-{victim}")


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_process_killed_at_every_moment_of_a_push_neither_loses_nor_doubles_it(
    tmp_path: Path, line: Line, victim: str
) -> None:
    project = f"kill-{victim}"
    _push(line, tmp_path / "source", project)
    for moment, reached in MOMENTS.items():
        eventually(lambda reached=reached: reached(line, project), limit=LIMIT, what=moment)
        line.kill(victim)
        line.start(victim)
    _comes_to_run(line, project)
    _exactly_one(line, tmp_path, project)


def test_a_rollback_over_a_dying_committer_and_a_dying_syncer_is_one_commit(tmp_path: Path, line: Line) -> None:
    _push(line, tmp_path / "source", "back")
    _comes_to_run(line, "back")
    (tmp_path / "source/index.html").write_text("two\n")
    commit(tmp_path / "source", "The second page")
    git("push", line.url("back/shop"), "main", cwd=tmp_path / "source")
    eventually(lambda: line.page("web.back.localhost") == "two\n", limit=LIMIT, what="the second page")
    eventually(lambda: _status(line, "back", "latest") == "running", limit=LIMIT, what="v2 runs")

    folder = tmp_path / "died"
    folder.mkdir()
    for name in ("committer", "syncer"):
        line.kill(name)
        line.start_as(name, "tests.support.dying", name, str(folder), "back")
    asked = line.api("/v1/rollbacks", {"project": "back", "environment": "production", "service": "web"})["command"]
    _die(line, ("committer", "syncer"), folder, "back")

    _comes_to_run(line, "back")
    told = line.api(f"/v1/commands/{asked}?wait=8")["decision"]
    assert (told["outcome"], told["reason"]) == ("accepted", "rolled_back")
    git("clone", "-q", line.url("enclii/config"), "config", cwd=tmp_path)
    subjects = [one for one in git("log", "--format=%s", cwd=tmp_path / "config").splitlines() if " back/web " in one]
    assert [one.partition(" ")[0] for one in subjects] == ["Revert", "Deploy", "Deploy"]
    eventually(lambda: len(_containers(line, "back")) == 1, limit=LIMIT, what="one container")


def test_everything_killed_at_once_goes_on_where_it_was(tmp_path: Path, line: Line) -> None:
    _push(line, tmp_path / "source", "everything")
    for name in VICTIMS:
        line.kill(name)
    line.start()
    _comes_to_run(line, "everything")
    _exactly_one(line, tmp_path, "everything")


@pytest.mark.parametrize("store", ["nats", "registry"])
def test_a_store_killed_in_the_middle_of_a_push_only_makes_it_later(
    tmp_path: Path, line: Line, stores: Stores, store: str
) -> None:
    server: Restartable = getattr(stores, store)
    _push(line, tmp_path / "source", f"without-{store}")
    eventually(lambda: _job(line, f"without-{store}"), what="the push is planned")
    server.kill()
    server.again()
    _comes_to_run(line, f"without-{store}")
    _exactly_one(line, tmp_path, f"without-{store}")


def test_pushes_that_gather_before_a_dead_builder_end_as_the_newest(tmp_path: Path, line: Line) -> None:
    line.kill("builder")
    _push(line, tmp_path / "source", "gather")
    for number in (2, 3):
        (tmp_path / "source/index.html").write_text(f"{number}\n")
        commit(tmp_path / "source", f"Page {number}")
        git("push", line.url("gather/shop"), "main", cwd=tmp_path / "source")
    line.start("builder")
    eventually(lambda: line.page("web.gather.localhost") == "3\n", limit=LIMIT, what="the newest page")
    _exactly_one(line, tmp_path, "gather")


def _die(line: Line, names: Sequence[str], folder: Path, *project: str) -> None:
    """Start each dying process again until it died at both of its boundaries; afterwards it is as it always was."""
    wanted = {f"{name}-{moment}" for name in names for moment in ("before", "after")}

    def all_died() -> bool:
        for name in names:
            if line.ended(name) is not None:
                assert line.ended(name) == -9, line.log(name)[-2000:]
                line.start_as(name, "tests.support.dying", name, str(folder), *project)
        return wanted == {mark.name for mark in folder.iterdir()}

    eventually(all_died, limit=LIMIT, what="every boundary was reached")
    for name in names:
        line.kill(name)  # the last one wrote its mark and may not be dead yet
        line.start(name)


def _push(line: Line, source: Path, project: str) -> None:
    sample(source, f"{project}\n")
    (source / "enclii.yaml").write_text("services:\n  web:\n    port: 8080\n    health: /index.html\n")
    commit(source, "One replica, so that a second container is one too many")
    git("push", line.url(f"{project}/shop"), "main", cwd=source)


def _job(line: Line, project: str) -> dict[str, Any]:
    runs = line.api(f"/v1/runs?project={project}")["runs"]
    jobs = line.api(f"/v1/runs/{runs[0]['id']}")["jobs"] if runs else None
    return dict(jobs[0]) if jobs else {}


def _comes_to_run(line: Line, project: str) -> None:
    """The replica is proven, nothing moves any more, and the page is the pushed one."""

    def running() -> bool:
        services = line.api(f"/v1/projects/{project}/services?environment=production&include_status=true")["services"]
        now = services[0]["current_deployment"] if services else None
        done = line.api(f"/v1/services/{project}.web/deployments/latest")["status"] == "running"
        return bool(now) and done and (now["status"], now["replicas"]) == ("running", "1/1")

    eventually(running, limit=LIMIT, what=f"{project} runs")
    eventually(lambda: line.page(f"web.{project}.localhost") == f"{project}\n", what="the pushed page")


def _exactly_one(line: Line, tmp: Path, project: str) -> None:
    """One release, one digest, one config commit, one container, nothing of a build left over."""
    releases = line.api(f"/v1/services/{project}.web/releases?limit=10")["releases"]
    git("clone", "-q", line.url("enclii/config"), "config", cwd=tmp)
    subjects = git("log", "--format=%s", cwd=tmp / "config").splitlines()

    assert [one["version"] for one in releases] == ["v1"]
    assert _digests(line, project) == {releases[0]["digest"]}
    assert subjects.count(f"Deploy {project}/web v1 to production") == 1
    assert len([one for one in subjects if f" {project}/web " in one]) == 1
    assert len(_containers(line, project)) == 1
    eventually(lambda: not line.left_of_builds(), what="no build is left over")


def _status(line: Line, project: str, deployment: str) -> str:
    return str(line.api(f"/v1/services/{project}.web/deployments/{deployment}")["status"])


def _digests(line: Line, project: str) -> set[str]:
    """What the tags of finished builds stand for; signatures and their like have tags that begin with the digest."""
    base = f"http://{line.registry}/v2/{project}/web"
    with urllib.request.urlopen(f"{base}/tags/list", timeout=60) as answer:
        tags = [tag for tag in json.load(answer)["tags"] if not tag.startswith("sha256-")]
    found = set()
    for tag in tags:
        kinds = "application/vnd.oci.image.manifest.v1+json"
        request = urllib.request.Request(f"{base}/manifests/{tag}", method="HEAD", headers={"Accept": kinds})
        with urllib.request.urlopen(request, timeout=60) as answer:
            found.add(str(answer.headers["Docker-Content-Digest"]))
    return found


def _containers(line: Line, project: str) -> list[str]:
    labels = [f"--filter=label=enclii.dev/{key}" for key in (f"instance={line.instance}", f"project={project}")]
    found = subprocess.run(["podman", "ps", "-aq", *labels], capture_output=True, text=True, check=True, timeout=60)
    return found.stdout.split()
