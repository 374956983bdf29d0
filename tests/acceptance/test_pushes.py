"""What a push starts, and what ends it early: paths that it does not touch, a newer one, a person; and who insists.

All cases share one running line, each with a project of its own.
"""

from __future__ import annotations

import secrets
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from console import credentials, demo
from console.installation import Addresses
from pipeline.errors import Unavailable
from tests.support.line import API, DEPLOY, Line, commit, eventually, git, run_enclii, running_line, sample
from tests.support.waiting_builds import built, services

LIMIT = 180.0
WEB = "services:\n  web:\n    port: 8080\n    health: /index.html\n"
TWO = "services:\n" + "".join(
    f"  {name}:\n    path: {name}\n    port: 8080\n    health: /index.html\n" for name in ("web", "api")
)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    with running_line(tmp_path_factory.mktemp("line")) as line:
        yield line


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A repository whose one service is a page, in one replica."""
    sample(tmp_path / "shop", "one\n")
    (tmp_path / "shop/enclii.yaml").write_text(WEB)
    return tmp_path / "shop"


def test_a_push_builds_the_services_that_it_touches_and_no_other(line: Line, shop: Path) -> None:
    for name in ("web", "api"):
        shutil.copytree(shop, shop / name, ignore=shutil.ignore_patterns(".git", "web", "enclii.yaml"))
    (shop / "enclii.yaml").write_text(TWO)
    _push(line, shop, "partly")
    for name in ("web", "api"):
        eventually(lambda name=name: _runs(line, "partly", name) == "v1", limit=LIMIT, what=f"{name} v1 runs")

    (shop / "README.md").write_text("Read me\n")
    sha = _push(line, shop, "partly")
    eventually(lambda: _decisions(line, sha) == {("skipped", "nothing_touched")}, what="the push is decided")
    told = run_enclii(line, API, "why", sha)
    assert (told.returncode, "no service's path has changed" in told.stdout) == (0, True), told.stdout + told.stderr
    assert (_run(line, sha)["status"], _run(line, sha)["jobs"]) == ("skipped", [])

    (shop / "web/index.html").write_text("two\n")
    sha = _push(line, shop, "partly")
    eventually(lambda: _runs(line, "partly", "web") == "v2", limit=LIMIT, what="web v2 runs")
    assert [job["service"] for job in _run(line, sha)["jobs"]] == ["web"]
    assert ("accepted", "planned") in _decisions(line, sha)
    assert [_versions(line, "partly", name) for name in ("web", "api")] == [["v2", "v1"], ["v1"]]
    assert (line.page("web.partly.localhost"), line.page("api.partly.localhost")) == ("two\n", "one\n")


def test_a_cancelled_build_ends_whole_and_the_next_push_works(line: Line, shop: Path) -> None:
    sha, mark = _hanging(line, shop, "called-off")
    run = _run(line, sha)["id"]

    done = run_enclii(line, API, "cancel", run)
    assert done.returncode == 0, done.stderr
    job = eventually(lambda: _job(line, run, "cancelled"), limit=LIMIT, what="the job is cancelled")

    assert (job["reason"], _run(line, sha)["status"]) == ("cancelled", "cancelled")
    _nothing_left(line, mark)
    assert ("skipped", "cancelled") in _decisions(line, run)
    again = run_enclii(line, API, "cancel", run)
    assert (again.returncode, "run_ended" in again.stderr) == (6, True), again.stderr
    _good_push(line, shop, "called-off")


def test_a_newer_push_to_the_branch_ends_the_build_of_the_older(line: Line, shop: Path) -> None:
    sha, mark = _hanging(line, shop, "overtaken")
    run = _run(line, sha)["id"]

    _good_push(line, shop, "overtaken")
    job = eventually(lambda: _job(line, run, "superseded"), what="the older job is superseded")

    assert (job["reason"], _run(line, sha)["status"]) == ("newer_push", "superseded")
    _nothing_left(line, mark)
    assert ("skipped", "newer_push") in _decisions(line, run)


def test_a_protected_environment_takes_another_history_only_when_somebody_insists(
    line: Line, shop: Path, tmp_path: Path
) -> None:
    _push(line, shop, "guarded")
    eventually(lambda: _runs(line, "guarded") == "v1", limit=LIMIT, what="v1 runs")
    git("clone", "-q", line.url("enclii/config"), "config", cwd=tmp_path)
    project = tmp_path / "config/guarded/project.yaml"
    project.write_text(project.read_text().replace("branch: main", "branch: main\n    protected: true"))
    commit(tmp_path / "config", "Protect it")
    git("push", "-q", "origin", "main", cwd=tmp_path / "config")

    (shop / "index.html").write_text("other\n")
    git("commit", "-q", "-a", "--amend", "-m", "Another history", cwd=shop)
    git("push", "--force", line.url("guarded/shop"), "main", cwd=shop)
    sha = git("rev-parse", "HEAD", cwd=shop).strip()
    eventually(lambda: ("refused", "diverged") in _decisions(line, sha), limit=LIMIT, what="it is refused")
    assert line.page("web.guarded.localhost") == "one\n"

    plain = run_enclii(line, API, "deploy", sha, "-p", "guarded", "-e", "production", "-s", "web")
    assert (plain.returncode, "diverged" in plain.stderr) == (6, True), plain.stderr
    forced = run_enclii(line, API, "deploy", sha, "--force", "-p", "guarded", "-e", "production", "-s", "web")
    assert forced.returncode == 0, forced.stderr
    eventually(lambda: line.page("web.guarded.localhost") == "other\n", limit=LIMIT, what="the other page")


def test_the_demo_is_over_when_a_step_is_not_seen_and_may_be_told_again(
    line: Line, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = _installed(line, tmp_path / "installation")
    with pytest.raises(Unavailable, match=r"v1 is built, signed.*not seen within") as never:
        demo.story(at, _folder(tmp_path / "first"), limit=0.01)
    assert (never.value.reason, "✓ v1 is built" in capsys.readouterr().out) == ("not_seen", False)

    assert demo.story(at, _folder(tmp_path / "second"), limit=LIMIT) == "web.shop-2.localhost"
    assert "rolled back: v1 runs again" in capsys.readouterr().out


def _installed(line: Line, home: Path) -> Addresses:
    """The line's addresses, with the secrets in the files in which ``up`` leaves them."""
    credentials.create(home / "secrets")
    for setting, value in (("ENCLII_API_TOKEN", API), ("ENCLII_GIT_DEPLOY_TOKEN", DEPLOY)):
        (home / "secrets" / credentials.TOKENS[setting]).write_text(value)
    (home / "githost").symlink_to(line.home / "githost")
    return Addresses(home, line.instance, line.ports)


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_builders_beside_each_other_share_the_builds_of_a_push_and_do_none_twice(line: Line, tmp_path: Path) -> None:
    services(tmp_path / "many", 4, seconds=2)
    second = line.start_beside("builder")
    try:
        eventually(lambda: "Dockerfiles are built by" in line.log(second), what="the second builder is up")
        sha = _push(line, tmp_path / "many", "many")
        eventually(lambda: _ended(line, sha), limit=LIMIT, what="the run has ended")
    finally:
        line.kill(second)

    done, pushed = [built(line.log(name)) for name in ("builder", second)], Counter[str]()
    run = _run(line, sha)
    for job in run["jobs"]:
        log = run_enclii(line, API, "logs", "-p", "many", "-s", job["service"], "--run", run["id"])
        pushed[job["service"]] += log.stdout.count("pushed ")
    assert all(any(of == run["id"] for of, _ in one) for one in done)
    assert pushed == dict.fromkeys((f"s{number:02}" for number in range(4)), 1)


def _push(line: Line, shop: Path, project: str) -> str:
    """Commit all and push; the commit's id."""
    sha = commit(shop, "A change")
    git("push", line.url(f"{project}/shop"), "main", cwd=shop)
    return sha


def _hanging(line: Line, shop: Path, project: str) -> tuple[str, str]:
    """Push a build that never ends and see it at work; the commit's id, and an argument that its processes bear."""
    good, mark = (shop / "Dockerfile").read_text(), str(1_000_000 + secrets.randbelow(1_000_000))
    step = f"trap '' TERM; /bin/busybox sleep {mark} & wait; /bin/busybox sleep {mark}"
    (shop / "Dockerfile").write_text(good + f'RUN ["/bin/busybox", "sh", "-c", "{step}"]\n')
    sha = _push(line, shop, project)
    eventually(lambda: line.processes_with(mark), limit=LIMIT, what="the build is at work")
    assert line.left_of_builds(), "what shows that nothing is left shows a build at work"
    (shop / "Dockerfile").write_text(good)
    return sha, mark


def _nothing_left(line: Line, mark: str) -> None:
    eventually(lambda: not line.processes_with(mark), what="the build's processes are gone")
    eventually(lambda: not line.left_of_builds(), what="nothing of the build is left")


def _good_push(line: Line, shop: Path, project: str) -> None:
    """A push that works, whatever came before it."""
    (shop / "index.html").write_text("good\n")
    _push(line, shop, project)
    eventually(lambda: _runs(line, project) == "v1", limit=LIMIT, what=f"{project} v1 runs")
    eventually(lambda: line.page(f"web.{project}.localhost") == "good\n", what="the page")
    assert _versions(line, project, "web") == ["v1"]


def _run(line: Line, sha: str) -> dict[str, Any]:
    """The run of the commit."""
    found = [run for run in line.api("/v1/runs?limit=50")["runs"] if run["sha"] == sha]
    return dict(line.api(f"/v1/runs/{found[0]['id']}"))


def _ended(line: Line, sha: str) -> bool:
    runs = line.api("/v1/runs?limit=50")["runs"]
    return any(run["sha"] == sha and run["status"] in ("succeeded", "failed") for run in runs)


def _job(line: Line, run: str, status: str) -> dict[str, Any] | None:
    job = line.api(f"/v1/runs/{run}")["jobs"][0]
    return dict(job) if job["status"] == status else None


def _runs(line: Line, project: str, service: str = "web") -> str:
    """The version that runs."""
    every = line.api(f"/v1/projects/{project}/services?environment=production&include_status=true")["services"]
    now = next((one["current_deployment"] for one in every if one["name"] == service), None)
    return str(now["version"]) if now and now["status"] == "running" else ""


def _versions(line: Line, project: str, service: str) -> list[str]:
    return [one["version"] for one in line.api(f"/v1/services/{project}.{service}/releases")["releases"]]


def _decisions(line: Line, wanted: str) -> set[tuple[str, str]]:
    return {(one["outcome"], one["reason"]) for one in line.api(f"/v1/why/{wanted}")["decisions"]}
