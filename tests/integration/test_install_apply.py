"""``enclii install`` and ``enclii doctor --cluster`` against a real API server, as far as no image is needed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from uuid import uuid4

import pytest

from console.installing.kubectl import MANAGER
from tests.support.components import needs
from tests.support.installing import IMAGE, enclii, made_secrets
from tests.support.kubernetes import found, kubectl


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    """With its Secrets, but for the registry's."""
    needs("kubernetes", "kubectl", "openssl")
    name = f"c-apply-{uuid4().hex[:6]}"
    try:
        made_secrets(name)
        yield name
    finally:
        kubectl("delete", "namespace", name, f"{name}-builds", "--wait=false", check=False)
        kubectl("delete", "clusterroles,clusterrolebindings", f"{name}-syncer", f"{name}-exec", check=False)


def install(namespace: str, *words: str) -> tuple[int, str]:
    done = enclii("install", "-n", namespace, "--image", IMAGE, "--wait", "off", *words, check=False)
    return done.returncode, done.stdout + done.stderr


def findings(namespace: str) -> dict[tuple[str, str], str]:
    done = enclii("doctor", "--cluster", "-n", namespace, "-o", "json", check=False)
    return {(one["level"], one["subject"]): one["message"] for one in json.loads(done.stdout)["checks"]}


def test_what_is_missing_is_named_before_anything_is_applied(namespace: str) -> None:
    code, said = install(namespace, "--beside")

    assert (code, "reason: secret_missing" in said, f"Secret {namespace}/enclii-registry\n" in said) == (6, True, True)
    assert "enclii-api-token" not in said
    assert f"kubectl -n {namespace} create secret generic enclii-registry --type" in said
    assert "make-secrets" not in said, "the script does not make this one"
    assert "next: mend that, and say the same again" in said
    assert not found(namespace, "services,deployments,statefulsets,serviceaccounts", "-l",
                     "app.kubernetes.io/part-of=enclii")["items"]  # fmt: skip


def test_without_the_namespace_everything_is_missing_and_no_namespace_is_made() -> None:
    needs("kubernetes")
    name = f"c-none-{uuid4().hex[:6]}"

    code, said = install(name, "--beside")

    assert (code, f"Secret {name}-builds/enclii-buildkit-tls" in said) == (6, True)
    assert kubectl("get", "namespace", name, "--ignore-not-found") == ""


def test_doctor_says_that_there_is_no_installation() -> None:
    needs("kubernetes")

    assert ("error", "installation") in findings(f"c-none-{uuid4().hex[:6]}")


def test_an_install_that_was_interrupted_is_seen_continued_and_alone_in_the_cluster(namespace: str) -> None:
    docker = json.dumps({"auths": {}})
    words = ("create", "secret", "generic", "enclii-registry", "--type", "kubernetes.io/dockerconfigjson")
    kubectl("-n", namespace, *words, "--from-literal", f".dockerconfigjson={docker}")
    kubectl("apply", "--server-side", "--field-manager", MANAGER, "-f", "-", stdin=json.dumps(half(namespace)))

    assert "not finished" in findings(namespace)["error", "installation"]

    code, said = install(namespace, "--beside")
    assert (code, "going on with" in said, "workloads: " in said) == (0, True, True), said
    assert "PrometheusRule" in said

    seen = findings(namespace)
    assert ("ok", "installation") in seen
    assert ("ok", "references") in seen
    assert ("error", "receiver") in seen  # of an image that there is not

    two, told = install(f"{namespace}-two")
    assert (two, "reason: already_installed" in told) == (6, True)
    same, told = install(f"{namespace}-two", "--beside", "--set", f"ENCLII_INSTANCE={namespace}")
    assert (same, "reason: same_instance" in told) == (6, True)

    told = enclii("doctor", "--cluster", "-n", namespace, "-o", "json", check=False)
    fixes = {one["subject"]: one["fix"] for one in json.loads(told.stdout)["checks"]}
    (command,) = [one for one in fixes["buildkit-main"].split("; ") if " describe " in one]
    assert "buildkit-main-0" in kubectl(*command.split()[1:])

    kubectl("-n", namespace, "delete", "secret", "enclii-api-token")
    kubectl("-n", namespace, "delete", "service", "receiver")
    broken = findings(namespace)
    assert "Secret" in broken["error", "references"]
    assert "receiver is gone" in broken["error", "Service"]


def half(namespace: str) -> dict[str, object]:
    """What an install leaves that was killed after its first wave."""
    labels = {"app.kubernetes.io/part-of": "enclii", "enclii.dev/installation": "enclii"}
    about = {"name": "enclii-installation", "namespace": namespace, "labels": labels}
    data = {"version": "0.1.0", "overlay": "small", "instance": namespace, "phase": "applying"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": data}
