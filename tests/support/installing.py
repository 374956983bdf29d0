"""``enclii install`` as a person calls it, and the cluster's part of what it left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from console.installing import documents
from tests.support.components import SEARCH_PATH, needs
from tests.support.kubernetes import KIT

ROOT = Path(__file__).parent.parent.parent
LIMIT = 300
IMAGE = f"registry.internal:5000/enclii/enclii@sha256:{'a' * 64}"


def enclii(*words: str, home: Path | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the command line in this checkout."""
    needs("kubectl")
    env = {"PATH": SEARCH_PATH, "HOME": str(home or Path.home()), "KUBECONFIG": os.environ.get("KUBECONFIG", str(KIT))}
    argv = (sys.executable, "-c", "from console.cli import main; main()", *words)
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert not check or done.returncode == 0, f"{words}: {done.stderr}"
    return done


def rendered(*words: str) -> list[dict[str, Any]]:
    """What ``enclii install --render`` prints, as data."""
    return documents.read(enclii("install", "--render", "--image", IMAGE, *words).stdout)


def workloads(found: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The pods of each Deployment and StatefulSet, by its name."""
    kinds = ("Deployment", "StatefulSet")
    return {one["metadata"]["name"]: one["spec"]["template"]["spec"] for one in found if one["kind"] in kinds}


def made_secrets(namespace: str) -> None:
    """Run the script that makes what can be made from nothing, as the documentation says."""
    needs("openssl", "kubectl")
    env = {"PATH": SEARCH_PATH, "HOME": str(Path.home()), "KUBECONFIG": os.environ.get("KUBECONFIG", str(KIT))}
    argv = (str(ROOT / "manifests/platform/make-secrets"), namespace)
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stderr
