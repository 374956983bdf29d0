"""``receiver.…``: signed pushes of 8 KB over 64 connections, from the request to the 202 that is on the disk.

The same receiver runs twice, once with deliveries that share a sync and once with one sync each, and beside them
Debian's ``webhook`` with an HMAC rule and ``/bin/true``, which keeps nothing. Rounds alternate. Syncs are counted by
strace in a round of their own, because counting slows.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import re
import signal
import socket
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.bus import connect
from pipeline.gathering import MOST
from pipeline.needs import SETUP
from pipeline.process import orphan_proof
from pipeline.rights import rights_of
from tests.bench.figures import Bound, Family, Figure
from tests.bench_cluster.receiver import HOOK, KEY
from tests.support.components import needs
from tests.support.line import ROOT, eventually
from tests.support.nats import password_of, running_server
from tests.support.nats_cluster import running_nats_cluster

GAIN = Bound("receiver.batch_gain", "ratio", 1.8, "higher")
SYNCS = Bound("receiver.fsync_per_202", "ratio", 0.25)
BESIDE = Bound("receiver.p99_vs_webhook", "ratio", 1.0)
ROUNDS, SECONDS, CONNECTIONS = 3, 5, 64
SIZE = 8_192
LIMIT = 60
SCRIPT = """
local count, thread = 0, string.format("%08x", math.floor(os.time() % 4294967296))
local file = io.open("BODY", "rb"); local body = file:read("*a"); file:close()
wrk.method, wrk.body = "POST", body
wrk.headers["Content-Type"] = "application/json"
wrk.headers["X-GitHub-Event"] = "push"
wrk.headers["X-Hub-Signature-256"] = "SIGNATURE"
function request()
  count = count + 1
  wrk.headers["X-GitHub-Delivery"] = string.format("%s-ROUND-%012x", thread, count)
  return wrk.format(nil, nil)
end
function done(summary, latency, _)
  io.write(string.format('{"requests": %d, "microseconds": %d, "p99": %d, "errors": %d}\\n', summary.requests,
    summary.duration, latency:percentile(99), summary.errors.status + summary.errors.connect + summary.errors.read
    + summary.errors.write + summary.errors.timeout))
end
"""


@dataclass(frozen=True)
class Load:
    """What one round showed: answers a second, and the 99th percentile in milliseconds."""

    rate: float
    p99: float
    count: int


def measure(folder: Path, wanted: frozenset[str]) -> list[Figure]:
    """All three, from the same rounds; what is not wanted is left out at the end."""
    needs("wrk", "strace", "webhook")
    script = Script(folder)
    with running_server(folder / "nats") as (nats, server):
        asyncio.run(prepared(nats))
        with receiver(nats, 1) as alone, receiver(nats, MOST) as shared:
            found: dict[str, list[Load]] = {"shared": [], "alone": [], "webhook": []}
            for _ in range(ROUNDS):
                found["shared"].append(script.run(shared))
                found["alone"].append(script.run(alone))
                with running_webhook(folder) as webhook:  # it answers before it runs: what it still owes ends with it
                    found["webhook"].append(script.run(webhook))
            syncs, answers = counted(server.pid, lambda: script.run(shared), folder / "syncs")
        kept = asyncio.run(messages(nats))
    sent = sum(load.count for name in ("shared", "alone") for load in found[name]) + answers
    if kept < sent:
        raise AssertionError(f"{sent} pushes were answered with 202, {kept} are stored")
    detail = {name: told(loads) for name, loads in found.items()} | {"on_three_nodes": nodes(folder / "r3", script)}
    figures = [
        Figure(GAIN, rate(found["shared"]) / rate(found["alone"]), ROUNDS, detail),
        Figure(SYNCS, syncs / answers, answers, {"fsyncs": syncs, "answers": answers}),
        Figure(BESIDE, p99(found["shared"]) / p99(found["webhook"]), ROUNDS, detail),
    ]
    return [figure for figure in figures if figure.bound.figure in wanted]


FAMILY = Family((GAIN, SYNCS, BESIDE), measure)


def nodes(folder: Path, script: Script) -> dict[str, object]:
    """The same receiver on three servers as in Kubernetes, TLS and users too, on this machine's one disk."""
    with running_nats_cluster(folder) as nats:
        asyncio.run(replicated(nats.url, str(nats.ca)))
        ca = str(nats.ca)
        with receiver(nats.url, MOST, ca) as shared, receiver(nats.url, 1, ca) as alone:
            return {"shared": told([script.run(shared)]), "alone": told([script.run(alone)])}


def rate(loads: list[Load]) -> float:
    return statistics.median(load.rate for load in loads)


def p99(loads: list[Load]) -> float:
    return statistics.median(load.p99 for load in loads)


def told(loads: list[Load]) -> dict[str, object]:
    """In the detail of a figure."""
    return {"requests_per_second": [round(one.rate) for one in loads], "p99_ms": [round(one.p99, 1) for one in loads]}


class Script:
    """What wrk sends: one body, signed once, under another delivery's id each time."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._round = folder, 0
        push = (ROOT / "tests/data/github/push.json").read_bytes().rstrip()
        self._body = push[:-1] + b', "filler": "' + b"x" * (SIZE - len(push) - 14) + b'"}'
        (folder / "body").write_bytes(self._body)

    def run(self, address: str) -> Load:
        """One round against ``address``; every answer must be a 2xx."""
        self._round += 1
        signature = "sha256=" + hmac.new(KEY, self._body, hashlib.sha256).hexdigest()
        text = SCRIPT.replace("BODY", str(self._folder / "body")).replace("SIGNATURE", signature)
        script = self._folder / "load.lua"
        script.write_text(text.replace("ROUND", f"{self._round:04x}"))
        argv = ("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--timeout", "20s", "-s", str(script))
        done = subprocess.run(
            (*argv, f"{address}/hooks/github/{HOOK}"), capture_output=True, text=True, timeout=LIMIT, check=True
        )
        said = json.loads(done.stdout.splitlines()[-1])
        if said["errors"] or not said["requests"]:
            raise AssertionError(f"not every push was answered with success: {done.stdout[-500:]}")
        return Load(said["requests"] / said["microseconds"] * 1e6, said["p99"] / 1e3, said["requests"])


@contextlib.contextmanager
def receiver(nats: str, most: int, *ca: str) -> Iterator[str]:
    """Its address while it runs."""
    argv = orphan_proof((sys.executable, "-m", "tests.bench_cluster.receiver", nats, str(most), *ca))
    with started(argv, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield process.stdout.readline().decode().strip()


@contextlib.contextmanager
def running_webhook(folder: Path) -> Iterator[str]:
    """Debian's ``webhook``: the address below which it answers like ours, run with a rule that checks the HMAC."""
    header = {"source": "header", "name": "X-Hub-Signature-256"}
    match = {"type": "payload-hmac-sha256", "secret": KEY.decode(), "parameter": header}
    hook = {"id": f"github/{HOOK}", "execute-command": "/bin/true", "trigger-rule": {"match": match}}
    (folder / "hooks.json").write_text(json.dumps([hook]))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = ("webhook", "-hooks", str(folder / "hooks.json"), "-ip", "127.0.0.1", "-port", str(port))
    with started(orphan_proof(argv), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        eventually(lambda: answers(port), what="webhook listens")
        yield f"http://127.0.0.1:{port}"


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


@contextlib.contextmanager
def started(argv: tuple[str, ...], **more: object) -> Iterator[subprocess.Popen[bytes]]:
    """A program until the block ends."""
    process = subprocess.Popen(argv, **more)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.terminate()
        process.wait(LIMIT)
        if process.stdout:
            process.stdout.close()


def counted(pid: int, load: Callable[[], Load], told: Path) -> tuple[int, int]:
    """How often the process synced while the load ran, and how many were answered meanwhile."""
    argv = ("strace", "-f", "-c", "-e", "trace=fsync,fdatasync", "-o", str(told), "-p", str(pid))
    process = subprocess.Popen(argv, stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None
        process.stderr.readline()  # it says that it is attached
        answered = load().count
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=LIMIT)
    calls = re.findall(r"^(?:\s*[\d.]+){3}\s+(\d+)\s.*\b(?:fsync|fdatasync)$", told.read_text(), re.MULTILINE)
    return sum(map(int, calls)), answered


async def prepared(nats: str) -> None:
    """Make the streams, as the first process of the product does."""
    bus = await connect(nats, name="bench")
    try:
        await bus.create_streams()
    finally:
        await bus.close()


async def replicated(nats: str, ca: str) -> None:
    """The same on servers with users, of everything three copies."""
    user, password = SETUP, password_of(SETUP)
    bus = await connect(nats, name="bench", user=user, password=password, ca=ca, rights=rights_of(user), wait=LIMIT)
    try:
        await bus.create_streams(replicas=3)
    finally:
        await bus.close()


async def messages(nats: str) -> int:
    """How many deliveries the stream holds."""
    bus = await connect(nats, name="bench")
    try:
        return int((await bus.asked("STREAM.INFO.HOOKS", {}))["state"]["messages"])
    finally:
        await bus.close()
