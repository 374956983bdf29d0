"""A registry that wants an account, and a real cluster that is told of it by the environment's Secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gitops.rendering.surroundings import Surroundings
from pipeline.servicefile import ServiceSpec
from tests.support.images import push_sample
from tests.support.kubernetes import found, kubectl, restricted_namespace
from tests.support.line import eventually
from tests.support.registry import running_registry
from tests.support.rendered import Case

# bcrypt of "correct horse", made for tests alone
HTPASSWD = "builder:$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2\n"
APPLIED = ("serviceaccount.yaml", "deployment.yaml")


def apply(namespace: str, image: str, *, pull_secret: str) -> None:
    case = Case("web", ServiceSpec(name="web", port=8080), Surroundings(pull_secret=pull_secret))
    files = case.files(image)
    kubectl("-n", namespace, "apply", "-f", "-", stdin="---\n".join(files[name].decode() for name in APPLIED))


def told(namespace: str) -> list[Any]:
    """What the containers wait for, or True for one that is ready."""
    pods = found(namespace, "pods")["items"]
    states = [one for pod in pods for one in pod["status"].get("containerStatuses", ())]
    return [one["ready"] or one["state"].get("waiting", {}).get("reason") for one in states]


def test_pods_pull_by_the_secret_that_their_environment_names_and_not_without(tmp_path: Path) -> None:
    (tmp_path / "htpasswd").write_text(HTPASSWD)
    with running_registry(tmp_path / "registry") as open_one:
        digest = push_sample(open_one, "shop/web", page="pulled")
    auth = {"htpasswd": {"realm": "test", "path": str(tmp_path / "htpasswd")}}
    with running_registry(tmp_path / "registry", auth=auth) as host, restricted_namespace("pull") as namespace:
        login = json.dumps({"auths": {host: {"username": "builder", "password": "correct horse"}}})
        (tmp_path / "config.json").write_text(login)
        secret = ("secret", "docker-registry", "registry")
        kubectl("-n", namespace, "create", *secret, f"--from-file=.dockerconfigjson={tmp_path / 'config.json'}")
        apply(namespace, f"{host}/shop/web@{digest}", pull_secret="")
        eventually(lambda: {"ErrImagePull", "ImagePullBackOff"} & {*told(namespace)}, what="it is refused", limit=120)

        apply(namespace, f"{host}/shop/web@{digest}", pull_secret="registry")
        kubectl("-n", namespace, "delete", "pods", "--all", "--wait=false")

        eventually(lambda: True in told(namespace), what="a pod is ready", limit=120)
