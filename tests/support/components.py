"""Which real components this machine has; a test that needs one says so by name.

On a laptop a missing component skips the test with its reason. Under CI the same test fails: a green run there means
that everything was tried.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

import pytest

SEARCH_PATH = os.pathsep.join(
    [str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin", str(Path.home() / ".cache/kit/bin")]
)

PLUGINS = "/usr/libexec/docker/cli-plugins:/usr/lib/docker/cli-plugins:/usr/local/lib/docker/cli-plugins"
KUBECONFIG = Path.home() / ".cache/kit/cluster/admin.kubeconfig"
ARGO_CD = Path.home() / ".cache/kit/argocd/up"


def find(program: str) -> str | None:
    """The program's path, looked for in the virtual environment, on PATH, in /usr/sbin and in the kit.

    ``kubernetes`` is the kit's cluster while it is up: the path of its administrator's kubeconfig. ``argo-cd`` is the
    kit's Argo CD on it.
    """
    if program == "docker-buildx":
        return shutil.which(program, path=os.pathsep.join((PLUGINS, SEARCH_PATH)))
    if program == "argo-cd":
        return str(ARGO_CD) if ARGO_CD.is_file() else None
    if program == "kubernetes":
        return str(KUBECONFIG) if (KUBECONFIG.parent / "up").is_file() else None
    return shutil.which(program, path=SEARCH_PATH)


def absent(reason: str) -> NoReturn:
    """Skip the test on a laptop, with the reason; under CI, where everything has to be there, fail it."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def needs(*programs: str) -> str:
    """The first program's path; skips the test, or fails it under CI, when one of them is missing."""
    missing = [name for name in programs if find(name) is None]
    if missing:
        absent(f"not on this machine: {', '.join(missing)}")
    return find(programs[0]) or ""
