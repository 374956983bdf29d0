"""``/metrics``: a measured time leads to the trace that it was measured in, for who reads OpenMetrics."""

from __future__ import annotations

import asyncio

from pipeline import measures
from pipeline.exposition import OPEN, exposition

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
STAGE = "exposition-test"


def test_the_newest_value_of_a_bucket_carries_its_trace_in_openmetrics() -> None:
    measures.EVENTS.observe(STAGE, "build.requested", "done", seconds=2.0, trace="0" * 31 + "1")
    measures.EVENTS.observe(STAGE, "build.requested", "done", seconds=2.25, trace=TRACE)

    kind, body = asyncio.run(exposition(f"{OPEN};version=1.0.0,text/plain;q=0.5", []))

    (line,) = [one for one in _buckets(body) if "# {" in one]
    assert kind.startswith(OPEN)
    assert 'le="2.5"' in line
    assert f'# {{trace_id="{TRACE}"}} 2.25 ' in line


def test_plain_text_knows_no_exemplars() -> None:
    measures.EVENTS.observe(STAGE, "build.requested", "done", seconds=2.0, trace=TRACE)

    kind, body = asyncio.run(exposition("text/plain", []))

    assert kind.startswith("text/plain")
    assert _buckets(body)
    assert TRACE not in body.decode()


def _buckets(body: bytes) -> list[str]:
    return [one for one in body.decode().splitlines() if one.startswith("enclii_event_seconds_bucket") and STAGE in one]
