"""docs/kubernetes.md, run as printed: from an empty cluster to the first push, by Argo CD and by our own syncer."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from console import platform, ports
from tests.support import argocd, kube
from tests.support.components import SEARCH_PATH, needs
from tests.support.doc_page import ROOT, Shell, blocks
from tests.support.kubernetes import kubectl
from tests.support.line import sample

PAGE = "kubernetes.md"
EDITOR = """#!/bin/sh
sed -i 's/^    branch: main$/    branch: main\\n    cluster: east/' "$1"
"""
ENCLII = """#!/bin/sh
exec {python} -c 'import sys; sys.path.insert(0, "{root}"); from console.cli import main; main()' "$@"
"""


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """An engineer's folder, as a clone is; everything that the commands make goes again."""
    needs("kubernetes", "kubectl", "nats-server", "docker-registry", "setpriv", "podman", "buildah", "syft")
    name = f"g{uuid4().hex[:8]}"
    made = Shell(tmp_path / "enclii", environment(tmp_path), names(name, made_ports := own_ports()))
    prepare(made.folder, name, made_ports)
    yield made
    platform.down(made.folder / ".enclii", purge=True)
    argocd.remove(name)
    kubectl("-n", argocd.NAMESPACE, "delete", "secret", f"{name}-config", "--ignore-not-found")
    for kind in ("clusterrole", "clusterrolebinding"):
        kubectl("delete", kind, f"{name}-syncer", f"{name}-exec", "--ignore-not-found")
    for kind in ("role", "rolebinding"):
        kubectl("-n", argocd.NAMESPACE, "delete", kind, f"{name}-syncer", "--ignore-not-found")
    kubectl("delete", "namespace", name, f"{name}-production", "--wait=false", "--ignore-not-found")


def own_ports() -> dict[str, int]:
    with contextlib.ExitStack() as held:  # all at once: one that is given back may be given again
        free = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in ports.PREFERRED]
        return {name: one.getsockname()[1] for name, one in zip(ports.PREFERRED, free, strict=True)}


def environment(tmp: Path) -> dict[str, str]:
    bin_ = tmp / "bin"
    bin_.mkdir()
    for name, text in (("editor", EDITOR), ("enclii", ENCLII.format(python=sys.executable, root=ROOT))):
        (bin_ / name).write_text(text)
        (bin_ / name).chmod(0o755)
    (tmp / ".gitconfig").write_text("[user]\nname=ann\nemail=ann@example.test\n")
    return {
        "PATH": f"{bin_}:{SEARCH_PATH}",
        "HOME": str(tmp),
        "LANG": "C.UTF-8",
        "EDITOR": "editor",
        "KUBECONFIG": str(kube.kubeconfig()),
    }


def names(name: str, taken: dict[str, int]) -> dict[str, str]:
    """The cluster and Argo CD are everybody's, so what is made there has this test's name; so have the ports."""
    return {
        r"127\.0\.0\.1:7081": f"127.0.0.1:{taken['githost']}",
        r"\bshop\b": name,
        r"-n enclii ": f"-n {name} ",
        r"enclii-(syncer|config)\b": rf"{name}-\1",
        r"https://git\.example": f"http://127.0.0.1:{taken['githost']}",
        r"https://argocd\.example": argocd.URL,
        r"bootstrap argocd east": f"bootstrap argocd east --project {name}",
    }


def prepare(folder: Path, name: str, taken: dict[str, int]) -> None:
    """The manifests of a clone, with the rights under this test's name; a state folder with ports of its own, where
    it is known already which of Argo CD's projects ``cluster add`` is about.
    """
    sample(folder / "app", "one\n")
    shutil.copytree(ROOT / "manifests", folder / "manifests")
    for file in (folder / "manifests/rbac").iterdir():
        text = file.read_text().replace("enclii-", f"{name}-")
        file.write_text(text.replace("name: enclii\n", f"name: {name}\n").replace("e: enclii\n", f"e: {name}\n"))
    home = folder / ".enclii"
    home.mkdir()
    (home / "instance").write_text(f"e{name}")
    (home / "ports.toml").write_text(ports.render(taken))
    known = {"kind": "kubernetes", "in_cluster": True, "sync": "argocd", "argocd": {"project": name}}
    (home / "clusters.yaml").write_text(json.dumps({"east": known}))


def push(shell: Shell) -> None:
    """Step 3: live, on the cluster, with its lines."""
    (step,) = blocks(PAGE, "3. Push")
    told = shell.run(step)
    assert "v1  running" in told, told
    assert told.count("1/1    running") == 2


def test_the_page_leads_from_an_empty_cluster_to_the_first_push_by_our_own_syncer(shell: Shell) -> None:
    for heading in ("1. Give Enclii access", "2. Bind an environment to it"):
        (step,) = blocks(PAGE, heading)
        shell.run(step)
    push(shell)
    assert (shell.folder / "east.kubeconfig").stat().st_mode & 0o777 == 0o600


def test_the_page_leads_from_an_empty_cluster_to_the_first_push_by_argo_cd(shell: Shell) -> None:
    needs("argo-cd")
    (access,) = blocks(PAGE, "1. Give Enclii access")
    _, there_already, connect = blocks(PAGE, "With Argo CD")
    shell.run(access)
    shell.run(there_already)
    shell.run(connect)
    push(shell)
    shell.run("test $(enclii doctor | grep -c 'its webhook takes our hints') = 1")
