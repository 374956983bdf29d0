"""The story on a real Kubernetes by our own syncer: push, live, a release that cannot start, and back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.support.cluster_story import installed, is_ready
from tests.support.kubernetes import found, kubectl
from tests.support.line import API, WRITE, Line, commit, eventually, git, run_enclii, sample
from tests.support.prometheus import Prometheus, running_prometheus


@contextlib.contextmanager
def on_kubernetes(home: Path, prefix: str) -> Iterator[tuple[Line, str]]:
    """A whole installation whose services run on the kit's cluster, and a project that no other run has."""
    with installed(home, "own", {"CLUSTER": "kit", "DEPLOY_TIMEOUT": "30s"}) as (line, _):
        yield line, f"{prefix}-{uuid4().hex[:8]}"


def entry(line: Line) -> dict[str, Any]:
    services = line.api("/v1/status")["services"]
    return dict(services[0]) if services else {}


def runs(line: Line, version: str) -> bool:
    live = entry(line).get("live") or {}
    return live.get("version") == version and live.get("status") == "running"


def wanted(line: Line, project: str) -> dict[str, Any]:
    return dict(line.api(f"/v1/services/{project}.web/deployments/latest?environment=production"))


def test_a_push_is_live_a_broken_one_leaves_the_old_pods_and_a_rollback_is_live_again(tmp_path: Path) -> None:
    with on_kubernetes(tmp_path / "home", "cube") as (line, project):
        shop = tmp_path / "shop"
        sample(shop, "one\n")
        git("push", line.url(f"{project}/{project}"), "main", cwd=shop)
        eventually(lambda: runs(line, "v1"), what="v1 runs on all replicas")
        pods = {pod["metadata"]["name"] for pod in found(f"{project}-production", "pods")["items"]}

        (shop / "Dockerfile").write_text((shop / "Dockerfile").read_text().replace('"httpd"', '"no-such-applet"'))
        commit(shop, "A page that cannot start")
        git("push", line.url(f"{project}/{project}"), "main", cwd=shop)
        eventually(lambda: wanted(line, project)["status"] == "degraded", what="v2 is degraded while it is tried")
        assert wanted(line, project)["reason"] == "crash_loop"
        assert "no-such-applet" in "".join(wanted(line, project)["dead_logs"])
        eventually(lambda: wanted(line, project)["status"] == "failed", what="v2 failed at its deadline")
        assert runs(line, "v1")
        assert pods <= {pod["metadata"]["name"] for pod in found(f"{project}-production", "pods")["items"]}

        line.api("/v1/rollbacks", {"project": project, "environment": "production", "service": "web"})
        eventually(lambda: entry(line)["status"] == "running" and runs(line, "v1"), what="v1 is what git wants again")


def test_lines_are_followed_an_edit_by_hand_is_taken_back_and_one_that_is_kept_fires_the_alert(tmp_path: Path) -> None:
    with on_kubernetes(tmp_path / "home", "drift") as (line, project):
        shop = tmp_path / "shop"
        sample(shop, "one\n")
        git("push", line.url(f"{project}/{project}"), "main", cwd=shop)
        eventually(lambda: runs(line, "v1"), what="v1 runs")

        words = ("logs", "-p", project, "-s", "web", "-e", "production", "-n", "5")
        assert run_enclii(line, API, *words).returncode == 0
        same = run_enclii(line, API, "diff", "-p", project, "-s", "web", "-e", "production")
        assert (same.returncode, same.stdout.strip()) == (0, "no difference")

        kubectl("-n", f"{project}-production", "scale", "deployment/web", "--replicas=5")
        eventually(lambda: "taking back" in line.log("syncer"), what="the change by hand was seen")
        eventually(lambda: found(f"{project}-production", "deployment", "web")["spec"]["replicas"] == 2, what="healed")

        with running_prometheus(tmp_path / "prometheus") as prometheus:
            prometheus.scrape({"console": line.ops_port("console")})
            eventually(prometheus.all_seen, what="the console was looked at")
            keep_drift(line, project, tmp_path)
            eventually(lambda: kept_drift_fires(prometheus, f"{project}-production"), limit=180, what="the alert fires")


def keep_drift(line: Line, project: str, folder: Path) -> None:
    """Say in git that what is changed by hand stays, and is shown."""
    git("clone", "-q", line.url("enclii/config", WRITE), "config", cwd=folder)
    file = folder / "config" / project / "project.yaml"
    file.write_text(file.read_text().replace("    branch: main\n", "    branch: main\n    drift: keep\n"))
    commit(folder / "config", "Keep what is changed by hand")
    git("push", "-q", "origin", "HEAD:main", cwd=folder / "config")


def kept_drift_fires(prometheus: Prometheus, namespace: str) -> bool:
    """Changed by hand, again for as long as the syncer has not read that it stays."""
    if found(namespace, "deployment", "web")["spec"]["replicas"] != 3:
        kubectl("-n", namespace, "scale", "deployment/web", "--replicas=3")
    return "EncliiDrift" in prometheus.fired()


def test_a_project_whose_namespace_would_be_the_platforms_fails_with_the_reason_and_is_not_tried_for_ever(
    tmp_path: Path,
) -> None:
    with on_kubernetes(tmp_path / "home", "kube") as (line, project):
        shop = tmp_path / "shop"
        sample(shop, "one\n")
        git("push", line.url(f"{project}/{project}"), "main", cwd=shop)
        eventually(lambda: wanted(line, project)["status"] == "failed", what="the deployment failed")
        assert wanted(line, project)["reason"] == "reserved_namespace"
        assert "`namespace:` in project.yaml" in wanted(line, project)["message"]
        assert "the pass failed" not in line.log("syncer")


def tokens(namespace: str) -> set[str]:
    """What each ready pod has as ``TOKEN``."""
    pods = [pod["metadata"]["name"] for pod in found(namespace, "pods")["items"] if is_ready(pod)]
    shown = ("--", "/bin/busybox", "sh", "-c", "echo $TOKEN")
    return {kubectl("-n", namespace, "exec", one, *shown, check=False).strip() for one in pods}


def test_a_secret_reaches_the_pods_each_version_rolls_out_and_one_that_is_gone_stops_a_rollback(
    tmp_path: Path,
) -> None:
    with on_kubernetes(tmp_path / "home", "vault") as (line, project):
        place = ("-p", project, "-e", "production", "-s", "web")
        shop = tmp_path / "shop"
        sample(shop, "one\n")
        (shop / "enclii.yaml").write_text("services:\n  web: {port: 8080, replicas: 2, secrets: [TOKEN]}\n")
        commit(shop, "Ask for a secret")
        git("push", line.url(f"{project}/{project}"), "main", cwd=shop)
        eventually(lambda: wanted(line, project)["reason"] == "secret_missing", what="it waits for its secret")
        for number, value in enumerate(("first", "second"), start=1):
            done = run_enclii(line, API, "secret", "set", "TOKEN=-", *place, stdin=value)
            assert f"TOKEN is v{number}" in done.stdout, done.stderr
            eventually(lambda: tokens(f"{project}-production") == {value}, what=f"both pods have v{number}")  # noqa: B023
        (shop / "index.html").write_text("two\n")
        commit(shop, "Another page")
        git("push", line.url(f"{project}/{project}"), "main", cwd=shop)
        eventually(lambda: runs(line, "v2"), what="v2 runs")
        done = run_enclii(line, API, "secret", "set", "TOKEN=-", *place, stdin="third")
        eventually(lambda: tokens(f"{project}-production") == {"third"}, what="both pods have v3")
        assert "TOKEN v3 → v2" in run_enclii(line, API, "rollback", "--plan", *place).stdout

        kubectl("-n", f"{project}-production", "delete", "secret", "web-secrets-v2")
        done = run_enclii(line, API, "rollback", "--wait", *place)
        assert done.returncode != 0
        assert "the cluster has no TOKEN v2" in done.stdout + done.stderr
        assert tokens(f"{project}-production") == {"third"}
