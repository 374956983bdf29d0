"""A team's kustomization and another's chart, rendered by a real Argo CD, are adopted without losing a byte."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import adopted_files, argocd
from tests.support.cluster_story import DIES, Story, bind, connected, is_ready, kube_page
from tests.support.components import needs
from tests.support.kubernetes import found, kubectl, restricted_namespace
from tests.support.line import commit, eventually, git, sample


@dataclass
class Team:
    """A project whose files were there before Enclii, with a namespace and an Application of the team's own."""

    story: Story
    space: str
    file: Path
    path: str
    source: dict[str, Any]

    def application(self) -> dict[str, Any]:
        repository = f"http://127.0.0.1:{self.story.line.ports['githost']}/enclii/config.git"
        destination = {"server": "https://kubernetes.default.svc", "namespace": self.space}
        return {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Application",
            "metadata": {"name": f"{self.story.name}-app", "namespace": argocd.NAMESPACE},
            "spec": {
                "project": self.story.tool,
                "source": {"repoURL": repository, "targetRevision": "main", **self.source},
                "destination": destination,
                "syncPolicy": {"automated": {"prune": True, "selfHeal": True}},
            },
        }

    def adopt(self, before: bytes) -> None:
        """Under management, and not a byte has changed."""
        self.story.enclii("adopt", self.path, "-p", self.story.name, "-e", "production", "-s", "web", "--yes")
        assert self.content() == before

    def ps(self) -> str:
        return self.story.enclii("ps", "-p", self.story.name, "-e", "production")

    def content(self) -> bytes:
        git("pull", "-q", "--rebase", "origin", "main", cwd=self.story.config)
        return self.file.read_bytes()

    def is_live(self, page: str, version: str) -> bool:
        """Enclii says so, and every pod answers with that page by the committed digest."""
        return self.story.runs(version) and self.answers() == {(page, self.digest)}

    @property
    def digest(self) -> str:
        return str(self.story.latest()["image"]).rpartition("@")[2]

    def answers(self) -> set[tuple[str, str]]:
        pods = [pod for pod in found(self.space, "pods")["items"] if is_ready(pod)]
        return {
            (kube_page(pod["status"]["podIP"]), pod["status"]["containerStatuses"][0]["imageID"].rpartition("@")[2])
            for pod in pods
        }


@contextlib.contextmanager
def teams(folder: Path) -> Iterator[list[Team]]:
    """One installation with two projects: a kustomization's, and a chart's."""
    needs("argo-cd", "kustomize", "helm")
    with connected(folder, "argocd") as first, contextlib.ExitStack() as held:
        sample(folder / "charts/shop", "none\n")
        second = Story(
            first.line, f"{first.name}h", folder / "charts/shop", folder / "charts/config", first.tool
        )  # fmt: skip
        bind(second)
        overlay, values = adopted_files.kustomization(first.config), adopted_files.chart(second.config)
        spaces = [held.enter_context(restricted_namespace(one.name)) for one in (first, second)]
        helm = {"path": adopted_files.CHART, "helm": {"valueFiles": [f"../../{adopted_files.VALUES}"]}}
        yield [
            Team(first, spaces[0], overlay, adopted_files.OVERLAY, {"path": adopted_files.OVERLAY}),
            Team(second, spaces[1], values, adopted_files.VALUES, helm),
        ]


def spliced(before: bytes, image: str, version: str) -> bytes:
    """The team's file with the two values of the image and nothing else changed."""
    name, _, digest = image.partition("@")
    return before.replace(b"ghcr.io/acme/web", name.encode()).replace(b"v1.2.3", f"{version}@{digest}".encode())


def dies(team: Team) -> None:
    """A release that cannot become healthy is degraded with its reason at once, and the old pods go on serving."""
    team.story.push("page 3\n", DIES)
    eventually(lambda: team.story.latest()["status"] == "degraded", limit=120, what="v3 is degraded at once")
    latest = team.story.latest()
    assert (latest["version"], latest["reason"]) == ("v3", "crash_loop")
    assert "no database" in "".join(latest["dead_logs"])
    assert {page for page, _ in team.answers()} == {"page 2\n"}
    eventually(
        lambda: [line.split()[-2] for line in team.ps().splitlines()[2:]] == ["v2"] * 2, what="the old pods in ps"
    )


def test_what_argo_cd_renders_of_adopted_files_is_deployed_observed_and_rolled_back(tmp_path: Path) -> None:
    with teams(tmp_path) as both:
        files = {}
        broken = both[0].story.config / "other/production/db/deployment.yaml"
        broken.parent.mkdir(parents=True)
        broken.write_text("{[ # somebody else's, and nobody waits for it\n")
        for team in both:
            files[team.path] = team.file.read_bytes()
            git("pull", "-q", "--rebase", "origin", "main", cwd=team.story.config)
            commit(team.story.config, "What the team had")
            git("push", "-q", "origin", "HEAD:main", cwd=team.story.config)
            kubectl("apply", "-f", "-", stdin=json.dumps(team.application()))
            team.adopt(files[team.path])

        for number in (1, 2):
            for team in both:
                team.story.push(f"page {number}\n")
            for team in both:
                eventually(lambda team=team, n=number: team.is_live(f"page {n}\n", f"v{n}"), limit=120, what=team.path)
                assert team.ps().count("1/1    running") == 2
                image = team.story.latest()["image"]
                assert team.content() == spliced(files[team.path], image, f"v{number}")

        dies(both[0])

        for team in both:
            words = ("-p", team.story.name, "-e", "production")
            assert "it begins" in team.story.enclii("logs", *words)
            team.story.enclii("rollback", *words, "--to", "v1", "--reason", "it was better", "--wait")
            eventually(lambda team=team: team.is_live("page 1\n", "v1"), limit=120, what=f"{team.path} is back")
            assert team.content() == spliced(files[team.path], team.story.latest()["image"], "v1")

        last = both[0]
        last.story.enclii("destroy", "-p", last.story.name, "-e", "production", "-s", "web", "--yes")
        assert len(last.answers()) == 1
        assert f"{last.story.name}-app" in {
            one["metadata"]["name"] for one in found(argocd.NAMESPACE, "applications")["items"]
        }
