"""A repository without a Dockerfile becomes a release by Buildpacks; a builder that lies about its digest does not."""

from __future__ import annotations

import json
from pathlib import Path

from tests.acceptance.test_builds import enclii
from tests.acceptance.test_push import runs
from tests.support.buildpacks import push_builder
from tests.support.line import commit, eventually, git, running_line

FILE = "services:\n  web:\n    port: 8080\n    health: /index.html\n"


def test_sources_without_a_dockerfile_run_and_a_lying_report_is_caught(tmp_path: Path) -> None:
    with running_line(tmp_path / "home") as line:
        line.kill("builder")
        line.more["BUILDPACKS_BUILDERS"] = push_builder(line.registry)
        line.start("builder")
        shop = tmp_path / "shop"
        shop.mkdir()
        (shop / "start").write_text("exec httpd -f -p 8080 -h /workspace\n")
        (shop / "Procfile").write_text("web: sh start\n")
        (shop / "index.html").write_text("packed\n")
        (shop / "enclii.yaml").write_text(FILE)
        git("init", "-q", "-b", "main", cwd=shop)
        commit(shop, "No Dockerfile at all")
        git("push", line.url("shop/shop"), "main", cwd=shop)
        eventually(lambda: runs(line, "v1"), what="v1 runs")
        assert line.page("web.shop.localhost", "/index.html") == "packed\n"
        assert "no Dockerfile in '.', but Procfile" in enclii(line, "logs", "--build", "v1")

        (shop / "lie").touch()
        commit(shop, "Ask the builder to lie")
        git("push", line.url("shop/shop"), "main", cwd=shop)
        eventually(lambda: newest(enclii(line, "builds", "-o", "json"))["status"] == "failed", what="the build failed")
        assert newest(enclii(line, "builds", "-o", "json"))["reason"] == "build_digest_mismatch"


def newest(answer: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(answer)["builds"][0]
    return found
