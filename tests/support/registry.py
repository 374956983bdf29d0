"""A real OCI registry (Distribution) for one test: its own storage, a port that the system chose, ended with TERM.

Starting again on the same directory and port continues with the same content, so a test can let it die in between.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from console.programs import LEISURE
from pipeline import attest, images
from pipeline.images import OCI_MANIFEST, Descriptor, ImageRef
from pipeline.process import orphan_proof
from pipeline.registry import Registry
from tests.support.components import needs

_LISTENING = re.compile(r"listening on (127\.0\.0\.1:[0-9]+)")
START_LIMIT = 60.0
END_LIMIT = 60.0


@contextlib.contextmanager
def running_registry(
    tmp: Path, *, port: int = 0, auth: Mapping[str, Any] | None = None, delete: bool = True
) -> Iterator[str]:
    """Yield ``127.0.0.1:PORT`` while the registry runs; ``auth`` is the registry's own configuration section."""
    with running_server(tmp, port=port, auth=auth, delete=delete) as (host, _):
        yield host


@contextlib.contextmanager
def running_server(
    tmp: Path, *, port: int = 0, auth: Mapping[str, Any] | None = None, delete: bool = True
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """As ``running_registry``, with the process too, for the test that kills it."""
    program = needs("docker-registry")
    tmp.mkdir(parents=True, exist_ok=True)
    configuration = tmp / "registry.yml"
    configuration.write_text(json.dumps(_configuration(tmp / "storage", port, auth, delete=delete)))
    log = tmp / "registry.log"
    with log.open("wb") as sink:
        argv = orphan_proof((program, "serve", str(configuration)))
        process = subprocess.Popen(argv, stdout=sink, stderr=subprocess.STDOUT, env={**os.environ, **LEISURE})
    try:
        yield _address(process, log), process
    finally:
        _end(process)


async def push_image(registry: Registry, repository: str, *, tag: str = "v1", content: bytes = b"layer") -> ImageRef:
    """A tiny image made by hand: a configuration and one layer, which is ``content``."""
    configuration = attest.compact(
        {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [images.sha256(content)]}}
    )
    parts = []
    for kind, data in (("config.v1+json", configuration), ("layer.v1.tar", content)):
        blob = await registry.put_blob(repository, data)
        parts.append(Descriptor(f"application/vnd.oci.image.{kind}", blob, len(data)).document())
    body = attest.compact({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": parts[0], "layers": parts[1:]})
    digest = await registry.put_manifest(repository, tag, OCI_MANIFEST, body)
    return ImageRef(registry.host, repository, digest)


def _configuration(storage: Path, port: int, auth: Mapping[str, Any] | None, *, delete: bool) -> dict[str, Any]:
    return {
        "version": "0.1",
        "log": {"level": "info", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(storage)}, "delete": {"enabled": delete}},
        "http": {"addr": f"127.0.0.1:{port}", "secret": "only-for-tests"},
        **({"auth": dict(auth)} if auth else {}),
    }


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_LIMIT
    while not (found := _LISTENING.search(log.read_text())):
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"the registry did not start: {log.read_text()[-2000:]}")
        time.sleep(0.01)  # its log is the only place that names the port it took
    return found[1]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(END_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
