"""Enclii on Kubernetes deploys an application on Kubernetes: from its Dockerfile to nothing left of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster_platform import Platform, forwarded, prepared, reachable_registry, remove
from tests.support.cluster_story import is_ready, kube_page
from tests.support.components import SEARCH_PATH, needs
from tests.support.installing import ROOT, enclii
from tests.support.kubernetes import found, kubectl
from tests.support.line import eventually, sample
from tests.support.platform_images import push_images

API_PORT = 6443
"""The kit's API server listens on the loopback alone; the Service ``kubernetes`` leads to the node's address."""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The overlay ``small``, installed by the command, of images that the test has built."""
    needs("kubernetes", "kubectl", "openssl", "busybox", "docker-registry")
    folder = tmp_path_factory.mktemp("platform")
    with reachable_registry(folder) as registry:
        image, buildkit = push_images(registry)
        with forwarded(API_PORT), prepared(folder, registry) as made:
            said = made.install(image, buildkit)
            assert f"Enclii is ready in namespace {made.namespace}" in said
            yield made


def asked(platform: Platform, *words: str) -> str:
    """The command line of a person whose server this is."""
    env = {"PATH": SEARCH_PATH, "HOME": "/nonexistent", "ENCLII_SERVER": platform.address("console")}
    env["ENCLII_TOKEN"] = platform.token("enclii-api-token")
    argv = (sys.executable, "-c", "from console.cli import main; main()", *words)
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def test_a_push_becomes_running_pods_and_uninstalling_leaves_only_them(platform: Platform, tmp_path: Path) -> None:
    project = platform.namespace.replace("platform-", "shop")
    doctor = enclii("doctor", "--cluster", "-n", platform.namespace, "-o", "json")
    assert {one["level"] for one in json.loads(doctor.stdout)["checks"] if one["subject"] == "NATS rights"} == {"ok"}

    asked(
        platform, "link", f"http://githost/{project}/{project}.git", "--forge", "local", "--branch", "production=main"
    )
    sample(tmp_path / "shop", "one\n")
    eventually(lambda: pushed(platform, project, tmp_path / "shop"), what="the git host knows the repository")
    eventually(lambda: live(platform, project), limit=300, what="two healthy replicas run")
    assert pages(f"{project}-production") == {"one\n"}

    remove(platform.namespace, services=False)
    assert not kubectl("get", "namespace", platform.namespace, f"{platform.namespace}-builds", "--ignore-not-found")
    assert platform.namespace not in kubectl("get", "clusterroles,clusterrolebindings,persistentvolumes", "-o", "name")
    assert pages(f"{project}-production") == {"one\n"}


def pushed(platform: Platform, project: str, folder: Path) -> bool:
    token = platform.token("enclii-git-deploy-token")
    url = platform.address("githost").replace("//", f"//deployer:{token}@") + f"/{project}/{project}.git"
    done = subprocess.run(("git", "push", "-q", url, "HEAD:main"), cwd=folder, capture_output=True, check=False)
    return done.returncode == 0


def live(platform: Platform, project: str) -> bool:
    services = platform.api(f"/v1/status?project={project}")["services"]
    states = [(one.get("live") or {}) for one in services if one["environment"] == "production"]
    return [(one.get("status"), one.get("health")) for one in states] == [("running", "healthy")]


def pages(namespace: str) -> set[str]:
    """What the ready pods answer."""
    return {kube_page(pod["status"]["podIP"]) for pod in found(namespace, "pods")["items"] if is_ready(pod)}
