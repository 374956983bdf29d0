"""From staging to production, both on the kit's cluster: one service, then a set in one commit, and back in one; by our
own syncer and by Argo CD.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.support import argocd
from tests.support.cluster_story import Story, connect_argocd, installed, is_ready
from tests.support.kubernetes import found
from tests.support.line import API, Line, commit, eventually, git, run_enclii, sample

RULES = "  production:\n    promotion: {from: staging}\n"
SERVICES = "services:\n" + "".join(f"  {name}: {{path: ., port: 8080}}\n" for name in ("web", "api"))


class Shop:
    """Two services, whose production is entered by promotion alone."""

    def __init__(self, line: Line, tmp: Path) -> None:
        self.line, self.project = line, f"p{uuid4().hex[:8]}"
        self.sources, self.config = tmp / "sources", tmp / "config"
        sample(self.sources, "none\n")
        (self.sources / "enclii.yaml").write_text(SERVICES)
        self.repository = line.url(f"{self.project}/{self.project}")

    def ruled(self) -> None:
        """What a platform engineer does once."""
        address = self.repository.replace("deployer:deploy-token@", "")
        self.enclii("link", address, "--forge", "local", "--branch", "staging=main")
        git("clone", "-q", self.line.url("enclii/config"), "config", cwd=self.config.parent)
        file = self.config / self.project / "project.yaml"
        file.write_text(file.read_text().replace("environments:\n", "environments:\n" + RULES))
        commit(self.config, "Enter production by promotion")
        git("push", "-q", "origin", "HEAD:main", cwd=self.config)

    def enclii(self, *words: str) -> str:
        done = run_enclii(self.line, API, *words)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def push(self, page: str) -> None:
        (self.sources / "index.html").write_text(page)
        commit(self.sources, f"Say {page.strip()}")
        git("push", "-q", self.repository, "HEAD:main", cwd=self.sources)

    def live(self, environment: str) -> dict[str, str]:
        """The version of each service that runs there, and is healthy."""
        services = self.line.api(f"/v1/status?project={self.project}&environment={environment}")["services"]
        well = {one["service"]: one["live"] for one in services if one["live"]}
        states = {name: (live["status"], live["health"]) for name, live in well.items()}
        return {name: live["version"] for name, live in well.items() if states[name] == ("running", "healthy")}

    def images(self, environment: str) -> dict[str, set[str]]:
        """What the ready pods of each service run."""
        running: dict[str, set[str]] = {}
        for pod in filter(is_ready, found(f"{self.project}-{environment}", "pods")["items"]):
            service: dict[str, Any] = pod["metadata"]["labels"]
            running.setdefault(service["enclii.dev/service"], set()).add(pod["spec"]["containers"][0]["image"])
        return running

    def log(self) -> list[str]:
        git("pull", "-q", "--rebase", "origin", "main", cwd=self.config)
        return git("log", "--format=%s", "--", f"{self.project}/production", cwd=self.config).splitlines()


@pytest.mark.parametrize("sync", ["own", "argocd"])
def test_one_service_and_a_set_are_promoted_by_digest_and_the_set_goes_back_as_one(tmp_path: Path, sync: str) -> None:
    with installed(tmp_path / "home", sync, {"CLUSTER": "kit", "DEPLOY_TIMEOUT": "90s"}) as (line, tool):
        shop = Shop(line, tmp_path)
        shop.ruled()
        if tool:
            connect_argocd(Story(line, shop.project, shop.sources, shop.config, tool))
        shop.push("one\n")
        eventually(lambda: shop.live("staging") == {"web": "v1", "api": "v1"}, limit=120, what="v1 is in staging")
        shop.enclii("promote", "web", "-p", shop.project, "--to", "production", "--wait")
        eventually(lambda: shop.live("production") == {"web": "v1"}, limit=120, what="web is in production")
        eventually(lambda: shop.images("production")["web"] == shop.images("staging")["web"], what="the same digest")

        shop.push("two\n")
        eventually(lambda: shop.live("staging") == {"web": "v2", "api": "v2"}, limit=120, what="v2 is in staging")
        shop.enclii("promote", "web", "api", "-p", shop.project, "--to", "production", "--wait")
        eventually(lambda: shop.live("production") == {"web": "v2", "api": "v2"}, limit=120, what="both are there")
        eventually(lambda: shop.images("production") == shop.images("staging"), what="the same digests")
        assert shop.log()[0] == f"Promote {shop.project}/api, web from staging to production"
        assert len(shop.log()) == 2

        (_, newest) = sorted(promotions(shop), key=lambda one: str(one["created_at"]))
        shop.enclii("rollback", "--set", newest["id"], "-p", shop.project, "--reason", "two is broken", "--wait")
        eventually(lambda: shop.live("production") == {"web": "v1"}, limit=120, what="web is v1 again, api is gone")
        assert len(shop.log()) == 3
        if tool:
            units = {one["metadata"]["name"] for one in found(argocd.NAMESPACE, "applications")["items"]}
            assert {f"{shop.project}.{one}" for one in ("staging.web", "staging.api", "production.web")} <= units
        eventually(lambda: set(shop.images("production")) == {"web"}, what="no pod of api is left")


def promotions(shop: Shop) -> list[dict[str, Any]]:
    return list(shop.line.api(f"/v1/promotions?project={shop.project}&all=true")["promotions"])
