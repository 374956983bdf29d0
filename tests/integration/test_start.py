"""A process whose tools or keys are not there: it says so and ends, and was never ready meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pipeline import __main__ as pipeline
from pipeline.bus import connect
from pipeline.errors import EncliiError
from pipeline.main import Body, Process
from pipeline.ops import ops_server
from pipeline.settings import Settings
from pipeline.store import Store
from tests.support.nats import running_nats

BARE_TCP = {"builder": "buildkit", "buildctl": "/bin/true", "buildkit_host": "tcp://builder.example:1234"}


@pytest.mark.parametrize(
    ("body", "changed", "reason"),
    [
        (pipeline.builder, BARE_TCP, "buildkit_without_tls"),
        (pipeline.signer, {"signing_uri": "keyless:"}, "bad_identity"),
    ],
    ids=["builder", "signer"],
)
def test_a_process_that_does_not_find_what_it_works_with_is_not_ready(
    body: Body, changed: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    async def story(url: str) -> tuple[str, bytes]:
        bus = await connect(url, name="test", wait=60.0)
        process = Process("test", Settings(home=tmp_path, **changed), Store(bus), asyncio.Event())
        async with ops_server(0, process.checks) as port:
            with pytest.raises(EncliiError) as caught:
                await body(process)
            answer = await _asked(port)
        await bus.close()
        return caught.value.reason, answer

    with running_nats(tmp_path / "nats") as url:
        found, answer = asyncio.run(story(url))

    assert found == reason
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"was not found yet" in answer


async def _asked(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /readyz HTTP/1.1\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer
