"""Bad input through the real line: each ends in a stored decision with a reason, and the next good push works.

All cases share one running line, each with a project of its own.
"""

from __future__ import annotations

import re
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.line import API, Line, commit, eventually, git, running_line, sample

LIMIT = 120.0
FORMED = "services:\n  web:\n    port: 8080\n    health: /index.html\n"
BROKEN = "services:\n  web:\n    port: 8080\n    colour: blue\n"


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    limits = {"BUILD_TIMEOUT": "25s", "BUILD_DISK": "256Mi", "BUILD_PROCESSES": "64"}
    with running_line(tmp_path_factory.mktemp("line"), limits) as line:
        yield line


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A repository whose one service is a page, in one replica."""
    sample(tmp_path / "shop", "nothing yet\n")
    (tmp_path / "shop/enclii.yaml").write_text(FORMED)
    commit(tmp_path / "shop", "One replica")
    return tmp_path / "shop"


def test_a_malformed_service_file_is_refused_with_its_line_before_it_lands(line: Line, shop: Path) -> None:
    (shop / "enclii.yaml").write_text(BROKEN)
    refused = commit(shop, "An unknown key")
    said = _refused(line, shop, "malformed")
    assert re.search(r"enclii\.yaml.*is invalid; nothing was accepted", said)
    assert re.search(r"enclii\.yaml:4: .*colour", said)
    assert git("ls-remote", line.url("malformed/shop"), cwd=shop).strip() == ""
    found = eventually(lambda: _decisions(line, refused), what="the refusal is told")
    assert {outcome for outcome, _ in found} == {"refused"}

    _good_push(line, shop, "malformed", "good", version="v1")


def test_a_missing_dockerfile_fails_the_job_with_its_reason(line: Line, shop: Path) -> None:
    (shop / "Dockerfile").rename(shop / "Container")
    run = _push(line, shop, "undocked", "No Dockerfile")
    job = _failed_job(line, run)
    assert "Dockerfile" in job["message"]
    _ended(line, run, job["reason"])

    (shop / "Container").rename(shop / "Dockerfile")
    _good_push(line, shop, "undocked", "good", version="v1")


def test_a_failing_build_step_shows_its_last_lines(line: Line, shop: Path) -> None:
    good = (shop / "Dockerfile").read_text()
    words = '["/bin/busybox", "sh", "-c", "echo the disk is on fire; exit 3"]'
    (shop / "Dockerfile").write_text(good + f"RUN {words}\n")
    run = _push(line, shop, "failing", "A build that fails")
    job = _failed_job(line, run)
    assert "the disk is on fire" in job["message"]
    assert "the disk is on fire" in _build_log(line, run)
    assert line.api(f"/v1/runs/{run}")["status"] == "failed"
    _ended(line, run, job["reason"])

    (shop / "Dockerfile").write_text(good)
    _good_push(line, shop, "failing", "good", version="v1")


@pytest.mark.parametrize(
    ("step", "reason", "said"),
    [
        ("trap '' TERM; /bin/busybox sleep 3600 & wait; /bin/busybox sleep 3600", "build_timeout", "25"),
        ("/bin/busybox dd if=/dev/zero of=/big bs=1M count=2000", "build_disk_full", "more than 256 MiB"),
        ("i=0; while [ $i -lt 500 ]; do /bin/busybox sleep 600 & i=$((i+1)); done", "build_failed", "can't fork"),
    ],
    ids=["hanging", "filling-the-disk", "bombing"],
)
def test_a_build_that_takes_more_than_its_share_is_ended_whole(
    line: Line, shop: Path, request: pytest.FixtureRequest, step: str, reason: str, said: str
) -> None:
    project = request.node.callspec.id
    good = (shop / "Dockerfile").read_text()
    (shop / "Dockerfile").write_text(good + f'USER 0\nRUN ["/bin/busybox", "sh", "-c", "{step}"]\n')
    run = _push(line, shop, project, "A greedy build")
    job = _failed_job(line, run)
    assert (job["reason"], said in job["message"]) == (reason, True), job["message"]
    _ended(line, run, reason)
    eventually(lambda: not line.left_of_builds(), what="nothing of the build is left")

    (shop / "Dockerfile").write_text(good)
    _good_push(line, shop, project, "good", version="v1")


def test_a_service_that_never_becomes_healthy_leaves_the_old_one_serving(line: Line, shop: Path) -> None:
    _good_push(line, shop, "sick", "old", version="v1")
    (shop / "Dockerfile").write_text((shop / "Dockerfile").read_text() + 'CMD ["/bin/busybox", "false"]\n')
    run = _push(line, shop, "sick", "It ends at once")
    failed = eventually(lambda: _deployment(line, run, "failed"), limit=LIMIT, what="the deployment fails")
    _ended(line, run, failed["reason"])
    assert ("failed", failed["reason"]) in _decisions(line, failed["release_id"])
    assert line.page("web.sick.localhost") == "old\n"
    assert _live(line, "sick")["version"] == "v1"

    (shop / "Dockerfile").write_text((shop / "Dockerfile").read_text().replace('CMD ["/bin/busybox", "false"]\n', ""))
    _good_push(line, shop, "sick", "new", version="v3")


def test_a_tag_push_and_a_deleted_branch_build_nothing_and_say_so(line: Line, shop: Path) -> None:
    _good_push(line, shop, "tagged", "one", version="v1")
    git("tag", "first", cwd=shop)
    git("push", line.url("tagged/shop"), "first", cwd=shop)
    sha = git("rev-parse", "HEAD", cwd=shop).strip()
    eventually(lambda: ("skipped", "not_a_branch") in _decisions(line, sha), what="the tag is decided")

    git("push", line.url("tagged/shop"), "main:short", cwd=shop)
    git("push", line.url("tagged/shop"), ":short", cwd=shop)
    eventually(lambda: ("skipped", "branch_deleted") in _decisions(line, "0" * 40), what="the deletion is decided")

    _good_push(line, shop, "tagged", "two", version="v2")


def test_a_branch_that_feeds_no_environment_is_skipped(line: Line, shop: Path) -> None:
    _good_push(line, shop, "aside", "one", version="v1")
    (shop / "index.html").write_text("aside\n")
    sha = commit(shop, "Aside")
    git("push", line.url("aside/shop"), "main:aside", cwd=shop)
    eventually(lambda: _decisions(line, sha) == {("skipped", "no_environment")}, what="the branch is decided")

    _good_push(line, shop, "aside", "two", version="v2")


def test_a_forced_branch_deploys_as_forced(line: Line, shop: Path) -> None:
    _good_push(line, shop, "forced", "one", version="v1")
    (shop / "index.html").write_text("other\n")
    git("add", "-A", cwd=shop)
    git("commit", "-q", "--amend", "-m", "Another history", cwd=shop)
    sha = git("rev-parse", "HEAD", cwd=shop).strip()
    git("push", "--force", line.url("forced/shop"), "main", cwd=shop)
    eventually(lambda: _runs(line, "forced", "v2"), what="the forced branch runs")
    assert ("forced", "diverged") in _decisions(line, sha)

    _good_push(line, shop, "forced", "next", version="v3")


def test_a_config_repository_edited_reverted_and_rewritten_by_hand_is_followed(
    line: Line, shop: Path, tmp_path: Path
) -> None:
    _good_push(line, shop, "byhand", "one", version="v1")
    config = _config(line, tmp_path)
    manifest = config / "byhand/production/web/deployment.yaml"
    manifest.write_text(manifest.read_text().replace("replicas: 1", "replicas: 2"))
    edited = commit(config, "Two of them")
    git("push", "-q", "origin", "main", cwd=config)
    eventually(lambda: _live(line, "byhand")["replicas"] == "2/2", what="two replicas")
    assert ("accepted", "edited_by_hand") in _decisions(line, f"{edited}/byhand/production/web")

    _good_push(line, shop, "byhand", "two", version="v2")
    git("pull", "-q", "--rebase", "origin", "main", cwd=config)
    git("revert", "--no-edit", "HEAD", cwd=config)
    git("push", "-q", "origin", "main", cwd=config)
    eventually(lambda: _runs(line, "byhand", "v1"), what="v1 runs again")
    git("pull", "-q", "--rebase", "origin", "main", cwd=config)
    assert (config / "byhand/production/web/hold.yaml").is_file()

    (shop / "index.html").write_text("three\n")
    held = _push(line, shop, "byhand", "Three, which waits")
    eventually(lambda: line.api(f"/v1/runs/{held}")["jobs"][0]["status"] == "held", what="the release is held")
    assert line.page("web.byhand.localhost") == "one\n"
    line.api("/v1/resumes", {"project": "byhand", "environment": "production", "service": "web"})
    eventually(lambda: _runs(line, "byhand", "v3"), what="v3 runs")


def test_a_config_branch_rewritten_by_force_is_followed_and_said(line: Line, shop: Path, tmp_path: Path) -> None:
    _good_push(line, shop, "rewound", "one", version="v1")
    _good_push(line, shop, "rewound", "two", version="v2")
    config = _config(line, tmp_path)
    git("reset", "-q", "--hard", "HEAD~1", cwd=config)
    (config / "NOTE").write_text("rewritten\n")
    tip = commit(config, "Rewritten")
    git("push", "-q", "--force", "origin", "main", cwd=config)
    eventually(lambda: _runs(line, "rewound", "v1"), what="v1 runs again")
    assert ("accepted", "config_rewritten") in _decisions(line, f"{tip}/rewritten")

    line.api("/v1/resumes", {"project": "rewound", "environment": "production", "service": "web"})
    eventually(lambda: not _held(line, tmp_path, "rewound"), what="the hold is gone")
    _good_push(line, shop, "rewound", "three", version="v3")


def _push(line: Line, shop: Path, project: str, message: str) -> str:
    """Commit all and push; the id of the run."""
    commit(shop, message)
    said = git("push", line.url(f"{project}/shop"), "main", cwd=shop)
    found = re.search(r"run (r-\w+)", said)
    assert found, said
    return found[1]


def _refused(line: Line, shop: Path, project: str) -> str:
    """What git says of a push that must not land."""
    done = subprocess.run(
        ["git", "push", line.url(f"{project}/shop"), "main"],
        cwd=shop, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode != 0
    return done.stderr


def _good_push(line: Line, shop: Path, project: str, page: str, *, version: str) -> None:
    """A push that works, whatever came before it."""
    (shop / "enclii.yaml").write_text(FORMED)
    (shop / "index.html").write_text(f"{page}\n")
    _push(line, shop, project, f"Page {page}")
    eventually(lambda: _runs(line, project, version), limit=LIMIT, what=f"{project} {version} runs")
    eventually(lambda: line.page(f"web.{project}.localhost") == f"{page}\n", what="the page")


def _live(line: Line, project: str) -> dict[str, Any]:
    services = line.api(f"/v1/projects/{project}/services?environment=production&include_status=true")["services"]
    return dict(services[0]["current_deployment"] or {}) if services else {}


def _runs(line: Line, project: str, version: str) -> bool:
    now = _live(line, project)
    return (now.get("version"), now.get("status")) == (version, "running")


def _failed_job(line: Line, run: str) -> dict[str, Any]:
    def failed() -> dict[str, Any] | None:
        jobs = line.api(f"/v1/runs/{run}")["jobs"]
        return dict(jobs[0]) if jobs and jobs[0]["status"] == "failed" else None

    return dict(eventually(failed, limit=LIMIT, what="the job fails"))


def _deployment(line: Line, run: str, status: str) -> dict[str, Any] | None:
    found = line.api(f"/v1/runs/{run}")["deployments"]
    return dict(found[0]) if found and found[0]["status"] == status else None


def _ended(line: Line, run: str, reason: str) -> None:
    """The run, its commit and its delivery all tell the same end."""
    assert reason
    story = line.api(f"/v1/runs/{run}")
    for wanted in (run, story["sha"], story["delivery"]):
        assert ("failed", reason) in _decisions(line, wanted)


def _decisions(line: Line, wanted: str) -> set[tuple[str, str]]:
    return {(one["outcome"], one["reason"]) for one in line.api(f"/v1/why/{urllib.parse.quote(wanted)}")["decisions"]}


def _build_log(line: Line, run: str) -> str:
    request = urllib.request.Request(
        f"http://127.0.0.1:{line.ports['console']}/v1/runs/{run}/logs?service=web",
        headers={"Authorization": f"Bearer {API}"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return str(answer.read().decode())


def _config(line: Line, tmp: Path) -> Path:
    """A clone of the config repository that may be pushed."""
    git("clone", "-q", line.url("enclii/config"), "config", cwd=tmp)
    return tmp / "config"


def _held(line: Line, tmp: Path, project: str) -> bool:
    git("fetch", "-q", "origin", cwd=tmp / "config")
    return "hold.yaml" in git("ls-tree", "--name-only", f"origin/main:{project}/production/web", cwd=tmp / "config")
