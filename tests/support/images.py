"""Tiny real images: nothing but Debian's static busybox and what a test asks for, pushed into a real registry.

No base image is needed, so this works without a network; the image's digest changes with its page.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.support.components import needs

LIMIT = 60
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
APPLETS = ("sh", "sleep", "echo", "cat", "env", "ls", "httpd")
SERVE = ("httpd", "-f", "-v", "-p", "8080", "-h", "/www")


def push_sample(
    registry: str,
    repository: str,
    *,
    page: str,
    tag: str = "latest",
    command: Sequence[str] = SERVE,
    files: Mapping[str, str] | None = None,
    user: str = "1000",
) -> str:
    """Push an image that serves ``page`` at / on port 8080, or runs another busybox ``command``; its digest.

    ``files`` maps paths below /www to their content; ``user`` "" leaves it to root. Nothing stays in the local store.
    """
    buildah = needs("buildah", "busybox")
    busybox = needs("busybox")
    with tempfile.TemporaryDirectory() as folder, _from_scratch(buildah) as container:
        _fill(Path(folder), busybox, {"index.html": page, **(files or {})})
        _call(buildah, "copy", "-q", container, folder, "/")
        words = json.dumps(["/bin/busybox", *command])
        _call(
            buildah,
            "config",
            f"--entrypoint={words}",
            "--env=PATH=/bin",
            *((f"--user={user}",) if user else ()),
            container,
        )
        _call(buildah, "commit", "-q", "--tls-verify=false", container, f"docker://{registry}/{repository}:{tag}")
    return digest_of(registry, repository, tag)


def digest_of(registry: str, repository: str, tag: str) -> str:
    """The digest that the registry itself names."""
    host, _, port = registry.partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=LIMIT)
    with contextlib.closing(connection):
        connection.request("HEAD", f"/v2/{repository}/manifests/{tag}", headers={"Accept": OCI_MANIFEST})
        answer = connection.getresponse()
        assert answer.status == 200, f"{repository}:{tag} answered {answer.status}"
        return str(answer.headers["Docker-Content-Digest"])


def _fill(root: Path, busybox: str, pages: Mapping[str, str]) -> None:
    root.chmod(0o755)
    (root / "bin").mkdir()
    shutil.copy(busybox, root / "bin/busybox")
    for applet in APPLETS:
        (root / "bin" / applet).symlink_to("busybox")
    for name, content in pages.items():
        path = root / "www" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


@contextlib.contextmanager
def _from_scratch(buildah: str) -> Iterator[str]:
    container = _call(buildah, "from", "scratch")
    try:
        yield container
    finally:
        _call(buildah, "rm", container)


def _call(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout.strip()
