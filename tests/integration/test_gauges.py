"""``/metrics`` of the console and of every process: the installation in figures, as Prometheus reads them."""

from __future__ import annotations

import asyncio
import datetime
import http.client
import ssl
from collections.abc import Iterable
from pathlib import Path

from msgspec.structs import replace
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from console import expiries, gauges
from pipeline import measures
from pipeline.errors import Unavailable
from pipeline.events import HoldRequested
from pipeline.exposition import OPEN, exposition
from pipeline.measures import Gauge
from pipeline.ops import ops_server
from pipeline.records import Parked
from pipeline.worker import Stage, work
from tests.integration import console_records as data
from tests.integration.console_server import Console, with_console
from tests.support.certificates import write_certificates
from tests.support.nats import monitor_of

TRACE = "0af7651916cd43dd8448eb211c80319c"


def _values(families: Iterable[Metric]) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for one in families
        for sample in one.samples
    }


async def _metrics(console: Console, tmp: Path) -> dict[tuple[str, tuple[str, ...]], float]:
    bus = console.store.bus
    monitor = monitor_of(bus._client.connected_url.geturl())  # type: ignore[union-attr]
    found = gauges.sources(console.projection, bus, monitors=monitor, endpoints=())
    _, text = await exposition(OPEN, found)
    return _values(text_string_to_metric_families(text.decode()))


def test_the_console_tells_of_queues_parked_events_drift_residue_and_durability(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        parked = Parked(
            id="p-1", consumer="committer", subject_parked="ev.x.y.z", event_type="x.y", reason="boom", message="-",
            attempts=5, at=data.AT1,
        )  # fmt: skip
        drifted = replace(data.live(2, data.IMAGE2, data.AT2), drift=("Deployment web: replicas 3, git says 2",))
        left = replace(data.live(1, data.IMAGE1, data.AT1), service="gone")
        await console.put(*data.shop(), parked, drifted, left)
        await console.store.publish(HoldRequested(id="k-1", **data.PLACE))
        async with console.store.bus.consume("PIPE", "committer", ["ev.hold.requested.*"]) as messages:
            await anext(messages)
            found = await _metrics(console, tmp_path)

        assert found["enclii_queue_in_hand", ("committer",)] == 1
        assert found["enclii_queue_oldest_seconds", ("committer",)] > 0
        assert found["enclii_parked_events", ("committer",)] == 1
        assert found["enclii_drift", ("production", "shop", "web")] == 1
        assert found["enclii_residue", ()] == 1
        assert [value for (name, _), value in found.items() if name == "enclii_fsync"] == [1]

    with_console(tmp_path, story)


def test_a_stage_is_timed_with_the_trace_of_its_event(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        stopping, done = asyncio.Event(), asyncio.Event()

        async def handle(_: object) -> object:
            done.set()
            raise Unavailable("away", reason="registry_away", delay=60.0)

        stage = Stage("timed", (HoldRequested,), handle)  # type: ignore[arg-type]
        await console.store.publish(HoldRequested(id="k-1", **data.PLACE, trace=f"00-{TRACE}-b7ad6b7169203331-01"))
        working = asyncio.create_task(work(stage, console.store, stopping))
        await done.wait()
        stopping.set()
        await working
        _, text = await exposition(OPEN, ())

        timed = [line for line in text.decode().splitlines() if 'stage="timed"' in line]
        assert any("retried" in line and f'# {{trace_id="{TRACE}"}}' in line for line in timed)
        assert 'enclii_event_failures_total{reason="registry_away",stage="timed"} 1.0' in timed

    with_console(tmp_path, story)


def test_who_asks_is_counted_and_plain_text_is_what_prometheus_reads_without_asking_for_more(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        before = dict(measures.REQUESTS.values)
        await console.get("/v1/projects")
        await console.failure("/v1/runs/none")

        async def hangs() -> list[Gauge]:
            raise Unavailable("away", reason="x")

        async def read(port: int) -> tuple[int, str, str]:
            def ask() -> tuple[int, str, str]:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                connection.request("GET", "/metrics")
                answer = connection.getresponse()
                found = answer.status, answer.getheader("content-type", ""), answer.read().decode()
                connection.close()
                return found

            return await asyncio.to_thread(ask)

        async with ops_server(0, {}, gauges=[hangs]) as port:
            status, kind, text = await read(port)

        counted = {key: count - before.get(key, 0) for key, count in measures.REQUESTS.values.items()}
        assert (counted["cli", "2xx"], counted["cli", "4xx"]) == (1, 1)
        assert (status, kind.split(";")[0]) == (200, "text/plain")
        assert 'enclii_requests_total{client="cli",code="4xx"}' in text
        assert "trace_id" not in text

    with_console(tmp_path, story)


def test_the_end_of_a_certificate_is_read_from_whoever_shows_it(tmp_path: Path) -> None:
    async def go() -> None:
        made, _ = write_certificates(tmp_path)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(made / "cert.pem", made / "key.pem")
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
        async with server:
            port = server.sockets[0].getsockname()[1]
            addresses = {"console": f"https://127.0.0.1:{port}", "plain": "http://127.0.0.1:1"}
            at = expiries.endpoints(**addresses, away="https://127.0.0.1:1")
            found = (await expiries.Expiries(at).gauges())[0].values

        assert list(found) == [("certificate", "console")]
        assert found["certificate", "console"] > datetime.datetime.now(datetime.UTC).timestamp()

    asyncio.run(go())
