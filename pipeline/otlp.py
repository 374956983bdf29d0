"""Spans to an OpenTelemetry collector by OTLP over HTTP; loaded only where ``ENCLII_OTLP_ENDPOINT`` is set.

Sending happens in a thread of the library's own, bounded in memory and time: a collector that is away costs spans and
nothing else.
"""

from __future__ import annotations

from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from pipeline.tracing import Kind, Span

KINDS: Final[dict[Kind, SpanKind]] = {
    "server": SpanKind.SERVER,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
    "internal": SpanKind.INTERNAL,
}
SEND_LIMIT: Final = 5.0
NANO: Final = 1_000_000_000


class Exporter:
    """Takes spans at once and sends them in batches; ``close`` sends what is left."""

    def __init__(self, endpoint: str, *, process: str, instance: str) -> None:
        self._resource = Resource(
            {"service.namespace": "enclii", "service.name": f"enclii-{process}", "service.instance.id": instance}
        )
        sender = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=SEND_LIMIT)
        self._sending = BatchSpanProcessor(sender, max_queue_size=2_048, schedule_delay_millis=1_000)

    def __call__(self, span: Span) -> None:
        parent = _context(span.trace, span.parent) if span.parent else None
        self._sending.on_end(
            ReadableSpan(
                name=span.name, context=_context(span.trace, span.id), parent=parent, resource=self._resource,
                attributes=span.attributes, kind=KINDS[span.kind],
                links=[Link(_context(one.trace, one.span)) for one in span.links],
                status=Status(StatusCode.ERROR, span.error) if span.error else Status(StatusCode.UNSET),
                start_time=int(span.began * NANO), end_time=int(span.ended * NANO),
            )
        )  # fmt: skip

    def close(self) -> None:
        """Send what waits, for a few seconds at most."""
        self._sending.shutdown()  # type: ignore[no-untyped-call]


def _context(trace: str, span: str) -> SpanContext:
    return SpanContext(int(trace, 16), int(span, 16), is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
