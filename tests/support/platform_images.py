"""Enclii's image, made of its Dockerfile, and one of rootless BuildKit, in a registry of the test's own.

No base image can be had here, so Debian's packages make one: Python, git, and what a user namespace needs.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from uuid import uuid4

from tests.support.components import needs
from tests.support.installing import ROOT

LIMIT = 600
PACKAGES = "python3,python3-venv,git,ca-certificates,uidmap,libcap2-bin"
ROOTLESS = """\
FROM {base}
COPY buildkitd buildctl rootlesskit runc /usr/bin/
RUN useradd -u 1000 -m -d /home/user user \\
  && echo user:100000:65536 >/etc/subuid && echo user:100000:65536 >/etc/subgid \\
  && chmod u-s /usr/bin/newuidmap /usr/bin/newgidmap \\
  && setcap cap_setuid=ep /usr/bin/newuidmap && setcap cap_setgid=ep /usr/bin/newgidmap
USER 1000:1000
"""
HOSTS = ("/etc/ssl/certs", "/etc/pip.conf")
"""What of this machine the build sees: how it reaches an index of packages."""


def push_images(registry: str) -> tuple[str, str]:
    """Build both and push them; their repositories there, with tags."""
    buildah = needs("buildah", "mmdebstrap", "rootlesskit", "runc", "buildkitd", "buildctl")
    unique = uuid4().hex[:8]
    names = {name: f"localhost/enclii-{unique}-{name}" for name in ("base", "enclii", "buildkit")}
    with tempfile.TemporaryDirectory(prefix="enclii-images-") as folder:
        try:
            _base(buildah, Path(folder), names["base"])
            _enclii(buildah, names["enclii"], names["base"])
            _rootless(buildah, Path(folder), names["buildkit"], names["base"])
            return _pushed(buildah, names["enclii"], f"{registry}/enclii/enclii:{unique}"), _pushed(
                buildah, names["buildkit"], f"{registry}/enclii/buildkit:{unique}"
            )
        finally:
            subprocess.run((buildah, "rmi", "-f", *names.values()), capture_output=True, timeout=LIMIT, check=False)


def _base(buildah: str, folder: Path, name: str) -> None:
    tar = folder / "base.tar"
    _call(needs("mmdebstrap"), "--quiet", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(tar))
    (folder / "Base").write_text("FROM scratch\nADD base.tar /\n")
    _build(buildah, name, folder / "Base", folder)


def _enclii(buildah: str, name: str, base: str) -> None:
    mounts = [word for path in HOSTS if Path(path).exists() for word in ("-v", f"{path}:{path}:ro")]
    _build(buildah, name, ROOT / "Dockerfile", ROOT, "--build-arg", f"BASE={base}", "--network", "host", *mounts)


def _rootless(buildah: str, folder: Path, name: str, base: str) -> None:
    context = folder / "rootless"
    context.mkdir()
    for program in ("buildkitd", "buildctl", "rootlesskit", "runc"):
        shutil.copy(needs(program), context / program)
    (context / "Dockerfile").write_text(ROOTLESS.format(base=base))
    _build(buildah, name, context / "Dockerfile", context)


def _build(buildah: str, name: str, file: Path, context: Path, *words: str) -> None:
    _call(buildah, "build", "-q", "--isolation", "chroot", "-t", name, "-f", str(file), *words, str(context))


def _pushed(buildah: str, name: str, address: str) -> str:
    fast = ("--compression-format", "zstd", "--compression-level", "1", "--format", "oci")
    _call(buildah, "push", "-q", "--tls-verify=false", *fast, name, f"docker://{address}")
    return address.partition("/")[2]


def _call(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr[-4000:]}"
