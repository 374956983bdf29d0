"""A preview on a real Kubernetes: a namespace of its own behind its wall, and nothing of it once it is gone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster_story import Story, connected
from tests.support.kubernetes import found, kubectl
from tests.support.line import commit, eventually, git

MAIN = "services:\n  search: {port: 8080, health: /index.html, previews: {enabled: false}}\n"
SERVICES = (
    f"{MAIN}  web: {{port: 8080, health: /index.html, secrets: [TOKEN]}}\n  api: {{port: 8080, health: /index.html}}\n"
)
RULES = (
    "previews:\n  cluster: kit\n  domain: preview.example.org\n  base: {environment: production, shared: [search]}\n"
)


@pytest.mark.parametrize("sync", ["own", "argocd"])
def test_rule_13_a_preview_has_a_namespace_of_its_own_and_ends_with_it(tmp_path: Path, sync: str) -> None:
    with connected(tmp_path, sync) as story:
        told(story)


def told(story: Story) -> None:
    rules(story)
    (story.shop / "enclii.yaml").write_text(MAIN)
    story.push("found\n")
    eventually(lambda: story.runs("v1"), what="production's search is live")
    (story.shop / "enclii.yaml").write_text(SERVICES)
    story.push("one\n", branch="new")
    where = ("-p", story.name, "-e", "preview", "-s", "web")
    story.enclii("secret", "set", "TOKEN", *where, stdin="for-previews")
    story.enclii("preview", "up", "new", "-p", story.name)
    place = f"{story.name}-preview-new"

    assert story.pages(place) == {"one\n"}
    assert hosts(place) == {f"new-{service}.preview.example.org" for service in ("web", "api")}
    search = f"http://search.{story.namespace}.svc.cluster.local:8080"
    assert values(place) == {"TOKEN": "for-previews", "SEARCH_URL": search}
    asked = (
        "-n",
        place,
        "exec",
        "deployment/web",
        "--",
        "/bin/busybox",
        "wget",
        "-q",
        "-O",
        "-",
        f"{search}/index.html",
    )
    assert kubectl(*asked) == "found\n"
    is_walled(place)

    story.push("two\n", branch="new")
    eventually(lambda: story.pages(place) == {"two\n"}, what="the new head runs, and the old one does not")

    story.enclii("preview", "down", "new", "-p", story.name)
    nothing_is_left(story, place)


def rules(story: Story) -> None:
    """What a platform engineer says once of all previews."""
    with (story.config / story.name / "project.yaml").open("a") as file:
        file.write(RULES)
    commit(story.config, "Preview on Kubernetes")
    git("push", "-q", "origin", "HEAD:main", cwd=story.config)


def hosts(namespace: str) -> set[str]:
    return {rule["host"] for one in found(namespace, "ingresses")["items"] for rule in one["spec"]["rules"]}


def values(namespace: str) -> dict[str, str]:
    """What the container of ``web`` is told: its secret, and where the base environment's service is."""
    printed = kubectl("-n", namespace, "exec", "deployment/web", "--", "/bin/busybox", "env")
    pairs = (line.partition("=") for line in printed.splitlines())
    return {name: value for name, _, value in pairs if name in ("TOKEN", "SEARCH_URL")}


def is_walled(namespace: str) -> None:
    """Rule 13: a quota and a wall, for every pod of the namespace."""
    quotas = found(namespace, "resourcequotas")["items"]
    assert {one["metadata"]["name"] for one in quotas} == {"web", "api"}
    assert all(one["status"]["used"]["pods"] == "2" for one in quotas)
    walls = {one["metadata"]["name"]: one["spec"] for one in found(namespace, "networkpolicies")["items"]}
    assert walls["web-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert walls["web"]["egress"][1] == {"to": [{"podSelector": {}}]}
    pods = found(namespace, "pods")["items"]
    assert all(pod["spec"]["automountServiceAccountToken"] is False for pod in pods)


def nothing_is_left(story: Story, namespace: str) -> None:
    assert namespace not in kubectl("get", "namespaces", "-o", "name")
    assert story.line.api(f"/v1/previews?project={story.name}")["previews"] == []
    git("pull", "-q", cwd=story.config)
    assert not (story.config / story.name / "preview-new").exists()
    subjects = git("log", "--format=%s", cwd=story.config).splitlines()
    assert sum(one.startswith(f"Remove {story.name}/preview-new") for one in subjects) == 1
    labels = f"enclii.dev/instance={story.line.instance},enclii.dev/environment=preview-new"
    kinds = "deployments,services,ingresses,networkpolicies,secrets,configmaps,pods,resourcequotas"
    there: Any = json.loads(kubectl("get", kinds, "-A", "-l", labels, "-o", "json"))
    assert there["items"] == []
