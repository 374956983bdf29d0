"""Doctor tells of a stream that is nearly full, before it takes nothing more: a real NATS' own page."""

from __future__ import annotations

import asyncio
from pathlib import Path

import nats
import pytest

from console.stream_checks import check_room
from pipeline.bus import connect
from tests.support.nats import monitor_of, running_nats

ROOM = 64 << 10


async def _filled(url: str, stream: str, subject: str, size: int) -> None:
    """The stream with hardly any room, of which one message takes ``size``."""
    bus = await connect(url, name="test")
    await bus.create_streams()
    await bus.close()
    client = await nats.connect(url)
    try:
        context = client.jetstream()
        config = (await context.stream_info(stream)).config
        config.max_bytes = ROOM
        await context.update_stream(config)
        await context.publish(subject, b"x" * size)
    finally:
        await client.close()


@pytest.mark.parametrize(
    ("stream", "subject", "level", "fix"),
    [("LOGS", "log.a", "warning", "enclii retention --apply"), ("PIPE", "st.a", "error", "max_bytes")],
)
def test_a_stream_that_is_nearly_full_is_told_of_with_what_frees_it(
    tmp_path: Path, stream: str, subject: str, level: str, fix: str
) -> None:
    with running_nats(tmp_path) as url:
        asyncio.run(_filled(url, stream, subject, ROOM * 9 // 10))
        [found] = asyncio.run(check_room(monitor_of(url)))

    assert (found.level, f"stream {stream} takes 9" in found.message, fix in found.fix) == (level, True, True)


def test_streams_with_room_are_told_of_in_one_line(tmp_path: Path) -> None:
    with running_nats(tmp_path) as url:
        asyncio.run(_filled(url, "LOGS", "log.a", 1000))
        [found] = asyncio.run(check_room(monitor_of(url)))

    assert found.level == "ok"
    assert "LOGS 2%" in found.message


def test_where_no_page_tells_nothing_is_claimed() -> None:
    assert asyncio.run(check_room("http://127.0.0.1:9")) == []
