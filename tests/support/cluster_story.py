"""A story on the kit's Kubernetes, synced by Argo CD or by ourselves, with a second environment on podman beside it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen
from uuid import uuid4

from tests.support import argocd, kube
from tests.support.components import SEARCH_PATH, needs
from tests.support.kubernetes import found, kubectl
from tests.support.line import API, READ, ROOT, WRITE, Line, commit, eventually, git, run_enclii, running_line, sample

TALKS = '["/bin/busybox", "sh", "-c", "echo it begins; exec /bin/busybox httpd -f -p 8080 -h /www"]'
DIES = '["/bin/busybox", "sh", "-c", "echo no database >&2; exit 3"]'


@dataclass
class Story:
    """A deployer, and a platform engineer with a working copy of the config repository."""

    line: Line
    name: str
    """The project: of this story alone, for the cluster is everybody's."""
    shop: Path
    config: Path
    tool: str = ""
    """Argo CD's project for it; empty when we sync."""

    @property
    def namespace(self) -> str:
        return f"{self.name}-production"

    @property
    def repository(self) -> str:
        return self.line.url(f"{self.name}/{self.name}")

    def push(self, page: str, command: str = TALKS, *, branch: str = "main") -> None:
        """Change the page and what starts it, and push."""
        (self.shop / "index.html").write_text(page)
        kept = [line for line in (self.shop / "Dockerfile").read_text().splitlines() if not line.startswith("CMD")]
        (self.shop / "Dockerfile").write_text("\n".join([*kept, f"CMD {command}", ""]))
        commit(self.shop, f"Say {page.strip()}")
        git("push", "-q", self.repository, f"HEAD:{branch}", cwd=self.shop)

    def enclii(self, *words: str, stdin: str = "") -> str:
        done = run_enclii(self.line, API, *words, stdin=stdin)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def latest(self) -> dict[str, Any]:
        return dict(self.line.api(f"/v1/services/{self.name}.web/deployments/latest?environment=production"))

    def runs(self, version: str) -> bool:
        services = self.line.api(f"/v1/status?project={self.name}")["services"]
        live = next((one["live"] or {} for one in services if one["environment"] == "production"), {})
        return (live.get("version"), live.get("status"), live.get("health")) == (version, "running", "healthy")

    def pages(self, namespace: str = "") -> set[str]:
        """What the ready pods answer."""
        pods = [pod for pod in found(namespace or self.namespace, "pods")["items"] if is_ready(pod)]
        return {kube_page(pod["status"]["podIP"]) for pod in pods}


def is_ready(pod: dict[str, Any]) -> bool:
    conditions = {one["type"]: one["status"] for one in pod["status"].get("conditions", ())}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


def kube_page(address: str) -> str:
    try:
        with urlopen(f"http://{address}:8080/", timeout=60) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


@contextlib.contextmanager
def connected(folder: Path, sync: str) -> Iterator[Story]:
    """An installation that knows the kit's cluster, connected as the documentation says; ``sync`` own or argocd."""
    with installed(folder / "home", sync) as (line, project):
        sample(folder / "shop", "none\n")
        made = Story(line, f"s{uuid4().hex[:8]}", folder / "shop", folder / "config", project)
        bind(made)
        if project:
            connect_argocd(made)
        yield made


@contextlib.contextmanager
def installed(home: Path, sync: str, settings: Mapping[str, str] | None = None) -> Iterator[tuple[Line, str]]:
    """An installation that knows the kit's cluster, with Argo CD's project for it, "" when we sync."""
    needs("kubernetes", "kubectl")
    project = argocd.name() if sync == "argocd" else ""
    home.mkdir(parents=True)
    entry: dict[str, Any] = {"kubeconfig": str(kube.kubeconfig()), "sync": sync}
    if project:
        argocd.access(home)
        tool = {"url": argocd.URL, "webhook_secret_file": "argocd-webhook", "project": project}
        entry |= {"argocd": tool}
    (home / "clusters.yaml").write_text(json.dumps({"kit": entry}))
    told = {"DEPLOY_TIMEOUT": "90s", **(settings or {})}
    with running_line(home, told) as line, contextlib.ExitStack() as held:
        held.callback(remove_all, line, project)
        yield line, project


def bind(story: Story) -> None:
    """What a platform engineer does once: say which environment is on which cluster.

    Beside the service lies somebody else's directory whose YAML is broken: that one waits, and nothing else does.
    """
    line = story.line
    branches = ("--branch", "production=main", "--branch", "staging=next")
    story.enclii("link", story.repository.replace("deployer:deploy-token@", ""), "--forge", "local", *branches)
    git("clone", "-q", line.url("enclii/config", WRITE), "config", cwd=story.config.parent)
    file = story.config / story.name / "project.yaml"
    file.write_text(file.read_text().replace("    branch: main\n", "    branch: main\n    cluster: kit\n"))
    broken = story.config / f"{story.name}x/production/web/deployment.yaml"
    broken.parent.mkdir(parents=True)
    broken.write_text("{[ # nobody's\n")
    commit(story.config, "Run production on Kubernetes")
    git("push", "-q", "origin", "HEAD:main", cwd=story.config)


def connect_argocd(story: Story) -> None:
    """Once more: make Argo CD's documents, and the credentials that it fetches the config repository with."""
    url = f"http://127.0.0.1:{story.line.ports['githost']}/enclii/config.git"
    bootstrap = ("bootstrap", "argocd", "kit", "-C", str(story.config), "--repo", url, "--project", story.tool)
    story.enclii(*bootstrap)
    commit(story.config, "Connect Argo CD")
    git("push", "-q", "origin", "HEAD:main", cwd=story.config)
    kubectl("apply", "-f", str(story.config / "clusters/kit"))
    kubectl("apply", "-f", "-", stdin=json.dumps(credentials(story.tool, url)))


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
    if project:
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
        story.name,
        "-e",
        "production",
    )
    with file.open("wb") as out, subprocess.Popen(argv, cwd=ROOT, env=env, stdout=out, stderr=out) as child:
        try:
            yield file
        finally:
            child.terminate()
            child.wait(60)


def tell(story: Story) -> None:
    """Push, live, a release that dies with the old pods still serving, rollback, live, destroyed."""
    story.push("one\n")
    eventually(lambda: story.runs("v1"), what="v1 is live")
    assert story.pages() == {"one\n"}
    assert story.enclii("diff", "-p", story.name, "-s", "web", "-e", "production") == "no difference\n"
    assert story.enclii("ps", "-p", story.name, "-e", "production").count("1/1    running") == 2

    story.push("staged\n", branch="next")
    eventually(
        lambda: story.line.page(f"web.staging.{story.name}.localhost") == "staged\n", what="staging runs on podman"
    )

    with followed(story) as lines:
        eventually(lambda: lines.read_text().count("it begins") == 2, what="the lines of both pods")
        story.push("two\n", DIES)
        eventually(lambda: story.latest()["status"] == "degraded", what="v3 is degraded at once")
        assert (story.latest()["version"], story.latest()["reason"]) == ("v3", "crash_loop")
        assert "no database" in "".join(story.latest()["dead_logs"])
        eventually(lambda: "no database" in lines.read_text(), what="the dead pod's words")
    assert story.pages() == {"one\n"}

    story.enclii("rollback", "-p", story.name, "-e", "production", "--reason", "no database", "--wait")
    eventually(lambda: story.runs("v1") and story.latest()["status"] == "running", what="v1 is live again")
    assert story.pages() == {"one\n"}

    story.enclii("destroy", "-p", story.name, "-e", "production", "-s", "web", "--yes")
    eventually(lambda: not found(story.namespace, "deployments")["items"], what="nothing of the service is left")
