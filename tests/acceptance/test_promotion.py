"""From staging to production on the real line: a set goes and comes back as one, and what fails goes back by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.line import API, Line, commit, eventually, git, run_enclii, running_line, sample

BOB = "the-token-that-bob-has"
SERVICES = ("web", "api")
RULES = """\
environments:
  staging:
    branch: main
    rollback: {automatic: true}
  production:
    promotion: {from: staging, approvals: 1}
"""


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    with running_line(tmp_path_factory.mktemp("line") / "home", {"DEPLOY_TIMEOUT": "12s"}) as running:
        people = running.home / "secrets" / "people"
        people.mkdir(parents=True, exist_ok=True)
        (people / "bob").write_text(BOB)
        yield running


class Shop:
    """One project with two services, whose production is entered by promotion alone once it was started."""

    def __init__(self, line: Line, tmp: Path, project: str) -> None:
        self.line, self.project = line, project
        self.sources, self.config = tmp / "sources", tmp / "config"
        sample(self.sources, "one\n")
        self.services()

    def services(self, *, health: str = "/index.html") -> None:
        lines = [f"  {name}: {{path: ., port: 8080, health: {health}}}" for name in SERVICES]
        (self.sources / "enclii.yaml").write_text("\n".join(["services:", *lines, ""]))

    def push(self, page: str) -> None:
        (self.sources / "index.html").write_text(page)
        commit(self.sources, f"Say {page.strip()}")
        git("push", "-q", self.line.url(f"{self.project}/{self.project}"), "main", cwd=self.sources)

    def rules(self, text: str) -> None:
        """Put a person's rules in the place of the environments that the first push made."""
        git("clone", "-q", self.line.url("enclii/config"), "config", cwd=self.config.parent)
        file = self.config / self.project / "project.yaml"
        file.write_text(file.read_text().partition("environments:")[0] + text)
        commit(self.config, "Enter production by promotion")
        git("push", "-q", "origin", "main", cwd=self.config)

    def status(self, environment: str, service: str = "web") -> dict[str, Any]:
        query = f"project={self.project}&environment={environment}&service={service}"
        found = self.line.api(f"/v1/status?{query}")["services"]
        return dict(found[0]) if found else {"status": "", "url": "", "hold": None}

    def answers(self, environment: str, page: str) -> None:
        def all_do() -> bool:
            found = [self.status(environment, service) for service in SERVICES]
            hosts = [urlsplit(one["url"]).hostname or "" for one in found]
            return all(one["status"] == "running" for one in found) and all(self.line.page(h) == page for h in hosts)

        eventually(all_do, limit=120, what=f"{environment} answers {page!r}")

    def log(self) -> list[str]:
        git("pull", "-q", "--rebase", "origin", "main", cwd=self.config)
        return git("log", "--format=%s", "--", self.project, cwd=self.config).splitlines()

    def open(self) -> list[dict[str, Any]]:
        return list(self.line.api(f"/v1/promotions?project={self.project}")["promotions"])


def enclii(line: Line, *words: str, token: str = API) -> str:
    done = run_enclii(line, token, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_a_set_is_promoted_once_though_the_committer_dies_and_goes_back_as_one(line: Line, tmp_path: Path) -> None:
    shop = Shop(line, tmp_path, "promo")
    shop.push("one\n")
    shop.answers("production", "one\n")
    shop.rules(RULES)
    eventually(lambda: len(line.api("/v1/projects")["projects"][0]["environments"]) == 2, what="the rules are read")
    shop.push("two\n")
    shop.answers("staging", "two\n")
    shop.answers("production", "one\n")

    said = enclii(
        line, "promote", "web", "api", "-p", shop.project, "--to", "production", "--reason", "tested together"
    )
    assert "1 approval missing" in said
    (waiting,) = shop.open()
    own = run_enclii(line, API, "approve", waiting["id"])
    assert (own.returncode, "own_promotion" in own.stderr) == (6, True)

    line.kill("committer")
    body = {"promotion": waiting["id"], "verdict": "approved"}
    line.api("/v1/reviews", body, token=BOB)
    line.start("committer")
    eventually(lambda: f"Promote {shop.project}/api, web from staging to production" in shop.log())
    line.kill("committer")
    line.start("committer")
    shop.answers("production", "two\n")

    assert sum(subject.startswith("Promote") for subject in shop.log()) == 1
    assert shop.status("production")["live"]["image"] == shop.status("staging")["live"]["image"]
    assert shop.open() == []
    assert "promoted" in enclii(line, "why", waiting["id"])

    plan = enclii(line, "rollback", "--plan", "-p", shop.project, "-e", "production", "-s", "web")
    assert f"enclii rollback --set {waiting['id']}" in plan
    enclii(line, "rollback", "--set", waiting["id"], "-p", shop.project, "--reason", "two is broken")
    shop.answers("production", "one\n")
    assert all(shop.status("production", service)["hold"] for service in SERVICES)
    assert sum(subject.startswith("Revert") for subject in shop.log()) == 1


def test_a_release_that_fails_goes_back_by_itself_and_says_why(line: Line, tmp_path: Path) -> None:
    shop = Shop(line, tmp_path, "selfback")
    shop.push("one\n")
    shop.answers("production", "one\n")
    shop.rules("environments:\n  production: {branch: main, rollback: {automatic: true}}\n")
    shop.services(health="/missing")
    shop.push("two\n")

    eventually(lambda: shop.status("production")["hold"], limit=120, what="web went back and is held")

    hold = shop.status("production")["hold"]
    assert (hold["by"], hold["from"]) == ("Enclii", "v2")
    shop.answers("production", "one\n")
    told = enclii(line, "why", "v2", "-p", shop.project, "-s", "web")
    assert "rolled_back_automatically" in told
