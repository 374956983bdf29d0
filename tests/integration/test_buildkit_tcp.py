"""A BuildKit daemon over TCP: with our certificate it builds, without one nobody is answered."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.build_log import LogLine
from pipeline.builders import BuildJob, Limits, buildkit_daemon
from pipeline.builders.buildkit import Buildkit
from pipeline.builders.buildkit_commands import checked_address
from pipeline.errors import Unavailable
from tests.support.buildkit import running_buildkitd
from tests.support.certificates import write_certificates
from tests.support.components import needs
from tests.support.images import digest_of
from tests.support.registry import running_registry


async def discard(_line: LogLine) -> None:
    return None


def test_a_daemon_over_tcp_builds_for_who_has_a_certificate(tmp_path: Path) -> None:
    server, client = write_certificates(tmp_path / "tls")
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(needs("busybox"), source / "busybox")
    (source / "Dockerfile").write_text("FROM scratch\nCOPY busybox /bin/busybox\n")

    with running_buildkitd(server) as found, running_registry(tmp_path / "registry") as registry:
        daemon = replace(found, address=checked_address(found.address, client), tls=client)
        facts = asyncio.run(buildkit_daemon.ask(daemon))
        builder = Buildkit(daemon, facts, tmp_path, Limits(), network="private", cage=None)
        job = BuildJob(source, f"{registry}/shop/web", "run-1", 0, plain_http=True)
        built = asyncio.run(builder.build(job, discard))

        assert built.digest == digest_of(registry, "shop/web", "run-1")
        with pytest.raises(Unavailable):
            asyncio.run(buildkit_daemon.ask(found))
