"""The story on a real Kubernetes that a real Argo CD syncs, with another environment on podman beside it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import argocd, kube
from tests.support.components import SEARCH_PATH
from tests.support.kubernetes import found, kubectl
from tests.support.line import API, READ, ROOT, WRITE, Line, commit, eventually, git, run_enclii, running_line, sample

NAMESPACE = "argo-production"
LATEST = "/v1/services/argo.web/deployments/latest?environment=production"
TALKS = '["/bin/busybox", "sh", "-c", "echo it begins; exec /bin/busybox httpd -f -p 8080 -h /www"]'
DIES = '["/bin/busybox", "sh", "-c", "echo no database >&2; exit 3"]'


@dataclass
class Story:
    """A deployer, and a platform engineer with a working copy of the config repository."""

    line: Line
    shop: Path
    config: Path
    project: str

    def push(self, page: str, command: str = TALKS, *, branch: str = "main") -> None:
        """Change the page and what starts it, and push."""
        (self.shop / "index.html").write_text(page)
        kept = [line for line in (self.shop / "Dockerfile").read_text().splitlines() if not line.startswith("CMD")]
        (self.shop / "Dockerfile").write_text("\n".join([*kept, f"CMD {command}", ""]))
        commit(self.shop, f"Say {page.strip()}")
        git("push", "-q", self.line.url("argo/argo"), f"HEAD:{branch}", cwd=self.shop)

    def enclii(self, *words: str) -> str:
        done = run_enclii(self.line, API, *words)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def latest(self) -> dict[str, Any]:
        return dict(self.line.api(LATEST))

    def runs(self, version: str) -> bool:
        services = self.line.api("/v1/status?project=argo")["services"]
        live = next((one["live"] or {} for one in services if one["environment"] == "production"), {})
        return (live.get("version"), live.get("status"), live.get("health")) == (version, "running", "healthy")

    def pages(self) -> set[str]:
        """What the ready pods answer."""
        pods = [pod for pod in found(NAMESPACE, "pods")["items"] if is_ready(pod)]
        return {kube_page(pod["status"]["podIP"]) for pod in pods}

    def application(self) -> dict[str, Any]:
        return dict(found(argocd.NAMESPACE, "application", "argo.production.web"))


def is_ready(pod: dict[str, Any]) -> bool:
    conditions = {one["type"]: one["status"] for one in pod["status"].get("conditions", ())}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


def kube_page(address: str) -> str:
    done = subprocess.run(["curl", "-sf", "-m", "5", f"http://{address}:8080/"], capture_output=True, check=False)
    return done.stdout.decode()


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    """An installation that knows the kit's cluster by Argo CD, connected as the documentation says."""
    home, project = tmp_path / "home", argocd.name()
    home.mkdir()
    argocd.access(home)
    tool = {"url": argocd.URL, "webhook_secret_file": "argocd-webhook", "project": project}
    entry = {"kubeconfig": str(kube.kubeconfig()), "sync": "argocd", "argocd": tool}
    (home / "clusters.yaml").write_text(json.dumps({"kit": entry}))
    with running_line(home, {"DEPLOY_TIMEOUT": "30s"}) as line, contextlib.ExitStack() as held:
        held.callback(remove_all, line, project)
        sample(tmp_path / "shop", "none\n")
        made = Story(line, tmp_path / "shop", tmp_path / "config", project)
        connect(made)
        yield made


def connect(story: Story) -> None:
    """What a platform engineer does once: bind the environments, make the documents, and the credentials."""
    line = story.line
    branches = ("--branch", "production=main", "--branch", "staging=next")
    story.enclii("link", line.url("argo/argo").replace("deployer:deploy-token@", ""), "--forge", "local", *branches)
    git("clone", "-q", line.url("enclii/config", WRITE), "config", cwd=story.config.parent)
    file = story.config / "argo/project.yaml"
    file.write_text(file.read_text().replace("    branch: main\n", "    branch: main\n    cluster: kit\n"))
    url = f"http://127.0.0.1:{line.ports['githost']}/enclii/config.git"
    bootstrap = ("bootstrap", "argocd", "kit", "-C", str(story.config), "--repo", url, "--project", story.project)
    story.enclii(*bootstrap)
    commit(story.config, "Connect Argo CD")
    git("push", "-q", "origin", "HEAD:main", cwd=story.config)
    kubectl("apply", "-f", str(story.config / "clusters/kit"))
    kubectl("apply", "-f", "-", stdin=json.dumps(credentials(story.project, url)))


def credentials(project: str, url: str) -> dict[str, Any]:
    """What the documentation makes with ``kubectl create secret`` and ``kubectl label``."""
    labels = {"argocd.argoproj.io/secret-type": "repository"}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"{project}-config", "namespace": argocd.NAMESPACE, "labels": labels},
        "stringData": {
            "type": "git",
            "url": url,
            "username": "enclii",
            "password": READ,
            "forceHttpBasicAuth": "true",
        },
    }


def remove_all(line: Line, project: str) -> None:
    line.end()
    argocd.remove(project)
    kubectl("-n", argocd.NAMESPACE, "delete", "secret", f"{project}-config", check=False)
    kubectl("delete", "namespaces", "-l", f"enclii.dev/instance={line.instance}", "--wait=false", check=False)


@contextlib.contextmanager
def followed(story: Story) -> Iterator[Path]:
    """``enclii logs -f`` in the background, into a file."""
    file = story.line.home / "followed"
    env = {"PATH": SEARCH_PATH, "HOME": str(story.line.home), "ENCLII_TOKEN": API}
    env["ENCLII_SERVER"] = f"http://127.0.0.1:{story.line.ports['console']}"
    argv = (
        sys.executable,
        "-u",
        "-c",
        "from console.cli import main; main()",
        "logs",
        "-f",
        "-p",
        "argo",
        "-e",
        "production",
    )
    with file.open("wb") as out, subprocess.Popen(argv, cwd=ROOT, env=env, stdout=out, stderr=out) as child:
        try:
            yield file
        finally:
            child.terminate()
            child.wait(10)


def test_a_push_is_live_by_argo_cd_a_broken_one_degrades_and_a_rollback_is_live_again(story: Story) -> None:
    story.push("one\n")
    eventually(lambda: story.runs("v1"), what="v1 is live")
    application = story.application()
    assert (
        application["metadata"]["annotations"]["argocd.argoproj.io/manifest-generate-paths"] == "/argo/production/web"
    )
    assert story.pages() == {"one\n"}
    assert story.enclii("ps", "-p", "argo", "-e", "production").count("1/1    running") == 2

    story.push("staged\n", branch="next")
    eventually(lambda: story.line.page("web.staging.argo.localhost") == "staged\n", what="staging runs on podman")

    with followed(story) as lines:
        eventually(lambda: lines.read_text().count("it begins") == 2, what="the lines of both pods")
        story.push("two\n", DIES)
        eventually(lambda: story.latest()["status"] == "degraded", what="v3 is degraded at once")
        assert (story.latest()["version"], story.latest()["reason"]) == ("v3", "crash_loop")
        assert "no database" in "".join(story.latest()["dead_logs"])
        eventually(lambda: "no database" in lines.read_text(), what="the dead pod's words")
    assert story.pages() == {"one\n"}

    story.enclii("rollback", "-p", "argo", "-e", "production", "--reason", "no database", "--wait")
    eventually(lambda: story.runs("v1") and story.latest()["status"] == "running", what="v1 is live again")
    assert story.pages() == {"one\n"}
    assert story.application()["status"]["sync"]["status"] == "Synced"

    story.enclii("destroy", "-p", "argo", "-e", "production", "-s", "web", "--yes")
    eventually(lambda: not found(NAMESPACE, "deployments")["items"], what="nothing of the service is left")
    names = [one["metadata"]["name"] for one in found(argocd.NAMESPACE, "applications")["items"]]
    assert "argo.production.web" not in names
