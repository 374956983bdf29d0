"""Traces, sent for real: an HTTP server takes what the exporter sends and reads it as OpenTelemetry's own messages."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from gitops.syncing import spans
from pipeline import trace, tracing
from pipeline.bus import connect
from pipeline.events import BuildRequested, HoldRequested
from pipeline.otlp import Exporter
from pipeline.store import Step, Store
from pipeline.worker import Stage, work
from tests.integration import console_records as data
from tests.support.nats import running_nats

OLDER = trace.new()


@contextmanager
def _collector() -> Iterator[tuple[str, list[Any]]]:
    """Its address, and the spans that it was sent."""
    found: list[Any] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                import gzip

                body = gzip.decompress(body)
            told = ExportTraceServiceRequest.FromString(body)
            found.extend(
                (one.resource, span) for one in told.resource_spans for part in one.scope_spans for span in part.spans
            )
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def _exporting(endpoint: str) -> Iterator[None]:
    exporter = Exporter(endpoint, process="test", instance="local")
    tracing.export_to(exporter)
    try:
        yield
    finally:
        tracing.export_to(None)
        exporter.close()


def test_what_is_published_handled_and_rolled_out_is_one_trace_with_links_to_what_it_took_up(tmp_path: Path) -> None:
    begun = trace.new()

    async def go(url: str) -> None:
        bus = await connect(url, name="test", wait=60.0)
        await bus.create_streams()
        store, stopping = Store(bus, "test"), asyncio.Event()

        async def handle(_: object) -> Step:
            tracing.link(OLDER)
            stopping.set()
            return Step()

        await store.publish(HoldRequested(id="k-1", **data.PLACE, trace=begun))
        await asyncio.wait_for(work(Stage("committer", (HoldRequested,), handle), store, stopping), 60)
        await bus.close()

    with _collector() as (endpoint, found), running_nats(tmp_path) as url, _exporting(endpoint):
        asyncio.run(go(url))
        running = data.deployment(2, data.IMAGE2, data.SHA2, data.AT2, "running")
        spans.rollout(_traced(running, begun))

    by_name = {span.name: span for _, span in found}
    root, handled, rolled = (by_name[name] for name in (
        "send hold.requested", "process hold.requested", "rollout production/web"))  # fmt: skip
    expected = trace.context(begun)
    assert expected is not None
    assert {span.trace_id.hex() for span in by_name.values()} == {expected.trace}
    assert (root.span_id.hex(), root.parent_span_id) == (expected.span, b"")
    assert {handled.parent_span_id.hex(), rolled.parent_span_id.hex()} == {expected.span}
    assert [link.trace_id.hex() for link in handled.links] == [trace.trace_id(OLDER)]
    told = {one.key: one.value.string_value for one in handled.attributes}
    assert told["messaging.system"] == "nats"
    assert (told["cicd.pipeline.task.name"], told["cicd.pipeline.name"]) == ("committer", "shop/web")
    assert {one.value.string_value for resource, _ in found for one in resource.attributes} >= {"enclii-test"}


def _traced(found: Any, traceparent: str) -> Any:
    from msgspec.structs import replace

    return replace(found, trace=traceparent)


def test_without_a_collector_no_span_is_made() -> None:
    event = HoldRequested(id="k-1", **data.PLACE, trace=trace.new())

    assert not tracing.active()
    tracing.published(event)
    assert trace.context("00-" + "0" * 32 + "-" + "1" * 16 + "-01") is None
    assert tracing.TASKS[BuildRequested.type] == "build"
