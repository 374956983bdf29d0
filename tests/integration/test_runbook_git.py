"""The git commands of the runbooks, as they stand there, on a mirror as the committer has it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from gitops.committing.edits import Draft, Edit
from gitops.git.configrepo import ConfigRepo
from gitops.layout import place
from tests.support.config_git import bare, git, served

RUNBOOKS = Path(__file__).parents[2] / "docs" / "runbooks"
WEB = place("shop", "production", "web").path
GLASS = "/tmp/config"  # noqa: S108 - as the page has it
NAME = ("user.name", "operator", "user.email", "operator@example.invalid", "safe.directory", "*")


def lines(page: str, names: dict[str, str]) -> str:
    """The git commands of the page's steps; what the page calls by example is what ``names`` says."""
    step = (RUNBOOKS / page).read_text().partition("**Do.**")[2]
    block = "".join(re.findall(r"^ *```sh\n(.*?)^ *```$", step, re.DOTALL | re.MULTILINE))
    found = [line.strip() for line in block.splitlines() if "git " in line]
    assert found, page
    text = "\n".join(found)
    for example, own in names.items():
        assert example in text, f"{page} has no {example}"
        text = text.replace(example, own)
    return text


def run(text: str, folder: Path) -> None:
    pairs = dict(zip(NAME[::2], NAME[1::2], strict=True)).items()
    told = {
        f"GIT_CONFIG_{kind}_{n}": part
        for n, pair in enumerate(pairs)
        for kind, part in zip(("KEY", "VALUE"), pair, strict=True)
    }
    env = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "GIT_CONFIG_COUNT": "3", **told}
    done = subprocess.run(
        ["/bin/bash", "-euc", text], cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"


def deployed(repo: ConfigRepo, text: str) -> str:
    draft = Draft(
        Edit(WEB, write={"a.yaml": text.encode()}), "Deploy\n\nEnclii-Intent: x\n", "ada", "2026-01-01T00:00:00Z"
    )
    tip = repo.write(repo.fetch(), [draft])[-1][0]
    repo.push(tip)
    return tip


def test_a_revert_is_made_from_the_mirror_while_the_host_is_away_and_pushed_when_it_is_back(tmp_path: Path) -> None:
    remote, glass = bare(tmp_path / "host"), tmp_path / "glass"
    with served(remote.parent) as address:
        repo = ConfigRepo(tmp_path / ".enclii/committer/config.git", f"{address}/{remote.name}")
        deployed(repo, "one")
        bad = deployed(repo, "two")
    shutil.move(remote, away := tmp_path / "away")

    run(lines("forge-down.md", {GLASS: str(glass), "COMMIT": bad, "P/E/S": WEB}), tmp_path)
    assert (glass / WEB / "a.yaml").read_text() == "one"

    shutil.move(away, remote)
    git("push", str(remote), "main", cwd=glass)
    assert git("log", "-1", "--format=%s", "main", cwd=remote) == 'Revert "Deploy"'


def test_the_tip_that_somebody_pushed_away_is_in_the_mirror_and_pushed_again(tmp_path: Path) -> None:
    remote = bare(tmp_path / "host")
    with served(remote.parent) as address:
        url = f"{address}/{remote.name}"
        repo = ConfigRepo(tmp_path / ".enclii/committer/config.git", url)
        first = deployed(repo, "one")
        lost = deployed(repo, "two")
        git("update-ref", "refs/heads/main", first, cwd=remote)
        assert repo.fetch() == first

        run(lines("config-force-pushed.md", {"CONFIG_URL": url, "OLD": lost[:12]}), tmp_path)

        assert git("rev-parse", "main", cwd=remote) == lost == repo.fetch()
