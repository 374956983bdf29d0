"""``/metrics``: measurements as Prometheus' text, or as OpenMetrics with exemplars for who accepts that."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from pipeline.measures import BUCKETS, Counter, Gauge, Kept, Series, Source, kept

if TYPE_CHECKING:
    from prometheus_client import Metric

log = logging.getLogger(__name__)

OPEN: Final = "application/openmetrics-text"
SOURCE_LIMIT: Final = 5.0


async def exposition(accepted: str, sources: Sequence[Source]) -> tuple[str, bytes]:
    """The content type and the text."""
    told = [gauge for found in await asyncio.gather(*map(_read, sources)) for gauge in found]
    return await asyncio.to_thread(_text, OPEN in accepted, list(kept()), told)


async def _read(source: Source) -> Sequence[Gauge]:
    """What a source says; its failure must not hide the others."""
    try:
        async with asyncio.timeout(SOURCE_LIMIT):
            return await source()
    except Exception as error:
        log.warning("metrics: a source could not be read: %s", error or type(error).__name__)
        return ()


def _text(is_open: bool, some: Sequence[Kept], gauges: Sequence[Gauge]) -> tuple[str, bytes]:
    import prometheus_client  # its HTTP server comes along: only for who is scraped

    registry = prometheus_client.CollectorRegistry()
    prometheus_client.ProcessCollector(registry=registry)
    registry.register(_Collected(some, gauges))
    if is_open:
        from prometheus_client.openmetrics import exposition as form

        return form.CONTENT_TYPE_LATEST, form.generate_latest(registry)  # type: ignore[no-untyped-call]
    return "text/plain; version=0.0.4; charset=utf-8", prometheus_client.generate_latest(registry)


class _Collected:
    """The measurements in the library's own form."""

    def __init__(self, some: Sequence[Kept], gauges: Sequence[Gauge]) -> None:
        self._some, self._gauges = some, gauges

    def collect(self) -> Iterator[Metric]:
        from prometheus_client import metrics_core as core

        for gauge in self._gauges:
            family: Any = core.GaugeMetricFamily(gauge.name, gauge.meaning, labels=gauge.labels)
            for labels, value in gauge.values.items():
                family.add_metric(labels, value)
            yield family
        for one in self._some:
            if isinstance(one, Counter):
                family = core.CounterMetricFamily(one.name, one.meaning, labels=one.labels)
                for labels, value in one.values.items():
                    family.add_metric(labels, value)
            else:
                family = core.HistogramMetricFamily(one.name, one.meaning, labels=one.labels)
                for labels, series in one.values.items():
                    family.add_metric(labels, list(_buckets(series)), series.sum)
            yield family


def _buckets(series: Series) -> Iterable[Any]:
    """Cumulative counts with an exemplar where there is one."""
    from prometheus_client.samples import Exemplar

    total = 0
    for place, count in enumerate(series.counts):
        total += count
        bound = str(BUCKETS[place]) if place < len(BUCKETS) else "+Inf"
        seen = series.exemplars.get(place)
        exemplar = Exemplar({"trace_id": seen.trace}, seen.value, seen.at) if seen else None
        yield bound, float(total), exemplar
