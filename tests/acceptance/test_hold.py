"""Going back, three ways, and staying there: by command, by hand in the config repository, by hand in the sources."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.line import API, Line, commit, eventually, git, run_enclii, running_line, sample

HOST = "web.{}.localhost"


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    with running_line(tmp_path_factory.mktemp("line") / "home") as running:
        yield running


@pytest.fixture
def shop(line: Line, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Pushes pages of one project of its own; the page that is pushed is seen to run."""
    project = "p" + request.node.name.removeprefix("test_").replace("_", "")[:20]
    folder = tmp_path / project
    sample(folder, "none\n")

    def push(page: str, *, message: str = "", wait: bool = True) -> str:
        (folder / "index.html").write_text(page)
        made = commit(folder, message or f"Say {page.strip()}")
        git("push", "-q", line.url(f"{project}/{project}"), "main", cwd=folder)
        if wait:
            answers(line, project, page)
        return made

    push.project = project  # type: ignore[attr-defined]
    push.folder = folder  # type: ignore[attr-defined]
    return push


def answers(line: Line, project: str, page: str) -> None:
    eventually(lambda: line.page(HOST.format(project)) == page, what=f"{project} answers {page!r}")


def status(line: Line, project: str) -> dict[str, Any]:
    return dict(line.api(f"/v1/status?project={project}")["services"][0])


def enclii(line: Line, *words: str) -> str:
    done = run_enclii(line, API, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def traced(line: Line, said: str) -> list[str]:
    """The steps of the command that printed ``said``, each of which ended after the one before, by what is stored."""
    command = re.findall(r"\bk-[a-z2-7]{26}\b", said)[0]
    steps = json.loads(enclii(line, "trace", command, "-o", "json"))["steps"]
    ends = [one["ended_at"][:23] for one in steps]
    assert all(one["seconds"] is not None for one in steps), steps
    assert ends == sorted(ends), steps
    return [re.sub(" [0-9a-f]{12}$", "", one["step"]) for one in steps]


def test_a_command_goes_back_and_holds_until_resume(line: Line, shop: Any) -> None:
    shop("one\n")
    shop("two\n")

    said = enclii(line, "rollback", "-p", shop.project, "--reason", "two is broken", "--wait")
    answers(line, shop.project, "one\n")
    assert "resume" in said
    assert traced(line, said) == ["rollback asked", "commit", "rollout production v1"]

    three = shop("three\n", wait=False)
    eventually(lambda: line.api(f"/v1/services/{shop.project}.web/releases?limit=1")["releases"][0]["version"] == "v3")
    eventually(lambda: "held" in str(line.api(f"/v1/services/{shop.project}.web/deployments/latest")))
    assert line.page(HOST.format(shop.project)) == "one\n"

    resumed = enclii(line, "resume", "-p", shop.project, "-o", "json")
    answers(line, shop.project, "three\n")
    assert traced(line, resumed) == ["resume asked", "commit", "rollout production v3"]
    again = run_enclii(line, API, "deploy", three, "-p", shop.project)
    assert (again.returncode, "already_deployed" in again.stderr) == (6, True)


def test_a_revert_by_hand_in_the_config_repository_is_a_rollback_that_holds(
    line: Line, shop: Any, tmp_path: Path
) -> None:
    shop("one\n")
    shop("two\n")
    config = tmp_path / "config"
    git("clone", "-q", line.url("enclii/config"), "config", cwd=tmp_path)

    newest = git("log", "-1", "--format=%H", "--", shop.project, cwd=config).strip()
    git("revert", "--no-edit", newest, cwd=config)
    git("push", "-q", "origin", "main", cwd=config)
    answers(line, shop.project, "one\n")

    eventually(lambda: status(line, shop.project)["hold"], what="the hold appears")
    git("pull", "-q", "--rebase", "origin", "main", cwd=config)
    assert (config / shop.project / "production" / "web" / "hold.yaml").exists()


def test_a_revert_in_the_sources_is_live_again_without_a_build(line: Line, shop: Any) -> None:
    shop("one\n")
    shop("two\n")

    git("revert", "--no-edit", "HEAD", cwd=shop.folder)
    git("push", "-q", line.url(f"{shop.project}/{shop.project}"), "main", cwd=shop.folder)
    answers(line, shop.project, "one\n")

    newest = line.api("/v1/runs?project=" + shop.project)["runs"][0]
    assert line.api(f"/v1/runs/{newest['id']}")["jobs"][0]["reused"] is True


def test_a_commit_with_the_trailer_resumes(line: Line, shop: Any) -> None:
    shop("one\n")
    shop("two\n")
    enclii(line, "rollback", "-p", shop.project, "--wait")

    shop("three\n", message="Fix it\n\nEnclii-Resume: production")
    answers(line, shop.project, "three\n")
