"""Credentials as clusters give them: a pod's own account, and an exec plugin's tokens that end and are renewed."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from ruamel.yaml import YAML

from gitops.clusters import ServiceRef
from gitops.clusters.kube_login import Access, login
from gitops.clusters.kubernetes import Kubernetes
from pipeline.errors import Unavailable
from tests.contract.cluster_contract import LIMIT, Service
from tests.support import kube
from tests.support.components import needs
from tests.support.kubernetes import kubectl

ROOT = Path(__file__).parents[2]
API = "client.authentication.k8s.io/v1"
PLUGIN = """#!/bin/sh
echo asked >>asked
test -z "$ENCLII_API_TOKEN" || exit 9
printf '{"apiVersion": "%s", "kind": "ExecCredential", "status": {"token": "%s"}}' "$API" "$(cat token)"
"""
IN_A_POD = """
import asyncio, pickle, sys
from gitops.clusters import ServiceRef
from gitops.clusters.kube_login import Access, login
from gitops.clusters.kubernetes import Kubernetes
from pipeline.errors import Refused

async def go():
    instance, wanted = pickle.load(sys.stdin.buffer)
    cluster = Kubernetes(login(Access(in_cluster=True)), instance=instance, pod_security="privileged")
    try:
        await cluster.start(wanted)
        await cluster.wait_healthy(wanted, timeout=120)
        print([line.text async for line in cluster.logs(wanted.ref)])
        try:
            await cluster.api.get("/api/v1/secrets", doing="read secrets")
        except Refused as error:
            print(error.reason, error.message)
        await cluster.remove(wanted.ref, grace=0)
        print(await cluster.observe(wanted.ref))
    finally:
        await cluster.close()

asyncio.run(go())
"""
AS_A_POD = 'mount --bind "$1" /run && shift && exec "$@"'
"""In a mount namespace of its own, so that nobody else sees what lies where a pod has its account."""


def test_a_pods_own_account_with_the_shipped_rights_applies_observes_and_removes(tmp_path: Path) -> None:
    needs("unshare")
    account = tmp_path / "run/secrets/kubernetes.io/serviceaccount"
    account.mkdir(parents=True)
    with kube.a_world(tmp_path / "world") as world, kube.shipped_rights() as syncer:
        (account / "token").write_text(syncer.token)
        (account / "ca.crt").write_bytes(authority())
        wanted = Service(ServiceRef(f"shop-{uuid4().hex[:8]}", "production", "web"), world).script("echo in; sleep 900")
        server = urlsplit(kubeconfig()["clusters"][0]["cluster"]["server"])
        inside = {"KUBERNETES_SERVICE_HOST": str(server.hostname), "KUBERNETES_SERVICE_PORT": str(server.port)}
        words = ("unshare", "-m", "sh", "-c", AS_A_POD, "sh", str(tmp_path / "run"), sys.executable, "-c", IN_A_POD)
        done = subprocess.run(
            words, input=pickle.dumps((world.instance, wanted)), env={"PATH": "/usr/bin:/bin"} | inside, cwd=ROOT,
            capture_output=True, check=False, timeout=300,
        )  # fmt: skip

    lines, refused, left = done.stdout.decode().splitlines() or [done.stderr.decode(), "", ""]
    assert (lines, left) == ("[b'in']", "[]")
    assert refused.startswith("not_allowed ")
    assert f"system:serviceaccount:{syncer.name}:{syncer.name}" in refused


def authority() -> bytes:
    """The certificate of the cluster's authority."""
    return base64.b64decode(kubeconfig()["clusters"][0]["cluster"]["certificate-authority-data"])


def kubeconfig() -> dict[str, Any]:
    return dict(YAML(typ="safe").load(kube.kubeconfig().read_text()))


def with_plugin(folder: Path, script: str = PLUGIN, **more: Any) -> Access:
    """A kubeconfig whose user is whoever the program beside it says."""
    (folder / "plugin").write_text(script)
    (folder / "plugin").chmod(0o755)
    config = kubeconfig()
    env = [{"name": "API", "value": API}]
    plugin = {"apiVersion": API, "command": "./plugin", "interactiveMode": "Never", "env": env, **more}
    config["users"][0]["user"] = {"exec": plugin}
    (folder / "kubeconfig").write_text(json.dumps(config))
    return Access(folder / "kubeconfig", environment={"HOME": str(folder)})


@contextlib.contextmanager
def ending_token(account: str) -> Iterator[str]:
    """A token that the API server takes until the context ends: it is bound to an object that is then deleted."""
    kubectl("-n", account, "create", "secret", "generic", "bound")
    bound = ("--bound-object-kind=Secret", "--bound-object-name=bound")
    try:
        yield kubectl("-n", account, "create", "token", account, *bound).strip()
    finally:
        kubectl("-n", account, "delete", "secret", "bound")


def test_a_plugins_token_that_ends_is_asked_for_again_and_nobody_notices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENCLII_API_TOKEN", "nobody else's")

    async def go(syncer: kube.Account) -> None:
        cluster = Kubernetes(login(with_plugin(tmp_path)), instance=syncer.name)
        try:
            with ending_token(syncer.name) as token:
                (tmp_path / "token").write_text(token)
                assert [one.level for one in await cluster.check()] == ["ok"]
                (tmp_path / "token").write_text(syncer.token)
            async with asyncio.timeout(LIMIT):
                while (tmp_path / "asked").read_text().count("asked") < 2:
                    assert [one.level for one in await cluster.check()] == ["ok"]
                    await asyncio.sleep(0.2)
            assert [one.level for one in await cluster.check()] == ["ok"]
        finally:
            await cluster.close()

    with kube.shipped_rights() as syncer:
        asyncio.run(go(syncer))


OLD = '#!/bin/sh\necho \'{"apiVersion": "client.authentication.k8s.io/v1beta1", "status": {"token": "t"}}\'\n'
EMPTY = f'#!/bin/sh\necho \'{{"apiVersion": "{API}", "status": {{}}}}\'\n'


@pytest.mark.parametrize(
    ("script", "more", "told"),
    [
        ("#!/bin/sh\necho no account >&2; exit 3\n", {}, "ended with 3: no account"),
        ("#!/bin/sh\necho welcome\n", {}, "printed no ExecCredential"),
        (OLD, {}, "answers in client.authentication.k8s.io/v1beta1"),
        (EMPTY, {}, "gave neither a token nor a certificate"),
        ("", {"command": "no-such-plugin", "installHint": "apt install it"}, "apt install it"),
    ],
)
def test_a_plugin_that_gives_no_credentials_is_named_with_its_words(
    tmp_path: Path, script: str, more: dict[str, Any], told: str
) -> None:
    access = with_plugin(tmp_path, script, args=["--secret", "hunter2"], **more)

    async def go() -> None:
        await login(access)()

    with pytest.raises(Unavailable) as caught:
        asyncio.run(go())

    assert caught.value.reason == "credentials_unreadable"
    assert told in caught.value.message
    assert "hunter2" not in caught.value.message
