"""Each alert is seen to fire: what it warns of is made to happen to a whole installation, whose figures a real
Prometheus reads with the shipped rules.

Drift alone is seen elsewhere, on Kubernetes: nobody changes by hand what podman runs without ending it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline.bus import Write, connect
from pipeline.settings import MAY_LOSE
from tests.support import nats, registry
from tests.support.certificates import write_certificates
from tests.support.components import absent, needs
from tests.support.line import COMMANDS, Line, commit, eventually, git, run_enclii, sample
from tests.support.prometheus import Prometheus, alerts, running_prometheus
from tests.support.stores import Restartable

LIMIT = 180.0
SLOW_STEP = 'RUN ["/bin/busybox", "sleep", "9"]\n'
"""A build may take eight minutes, which are eight seconds here."""
SLOW_START = '["/bin/busybox", "sh", "-c", "/bin/busybox sleep 2; exec /bin/busybox httpd -f -p 8080 -h /www"]'
"""A rollback may take thirty seconds: half a one."""
ON_KUBERNETES = {"EncliiDrift"}


class World:
    """An installation whose stores can be killed, and the Prometheus that looks at it."""

    def __init__(self, line: Line, events: Restartable, images: Restartable, prometheus: Prometheus) -> None:
        self.line, self.events, self.images, self.prometheus = line, events, images, prometheus

    def fires(self, *names: str) -> None:
        """Wait until each has fired."""
        eventually(lambda: self.prometheus.fired() >= set(names), limit=LIMIT, what=f"{', '.join(names)} fires")

    def silent(self, *names: str) -> None:
        """None of them fired until now."""
        assert not self.prometheus.fired() & set(names)

    def push(self, shop: Path, project: str, page: str) -> None:
        (shop / "index.html").write_text(f"{page}\n")
        commit(shop, f"Page {page}")
        git("push", self.line.url(f"{project}/shop"), "main", cwd=shop)

    def runs(self, project: str, version: str) -> bool:
        services = self.line.api(f"/v1/projects/{project}/services?environment=production&include_status=true")
        now = services["services"][0]["current_deployment"] if services["services"] else None
        return bool(now) and (now["version"], now["status"]) == (version, "running")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Its NATS acknowledges before it syncs, and the certificate of its public address ends within the hour."""
    needs("prometheus", "podman", "buildah", "docker-registry", "nats-server", "git", "syft")
    events = Restartable(
        lambda port: nats.running_server(
            tmp_path / "nats", port=-1 if port is None else port, sync='"2m"', extra=nats.AUTHORIZED
        )
    )
    images = Restartable(lambda port: registry.running_server(tmp_path / "registry", port=port or 0))
    with contextlib.ExitStack() as held:
        held.callback(events.end)
        held.callback(images.end)
        public = held.enter_context(_public_address(tmp_path))
        told = {"DURABILITY": MAY_LOSE, "RECEIVER_URL": public, "SWEEP": "2s"}
        line = Line(tmp_path / "home", events.address, images.address, told)
        line.home.mkdir()
        held.callback(line.end)
        line.start()
        eventually(line.listens, what="all processes listen")
        prometheus = held.enter_context(running_prometheus(tmp_path / "prometheus"))
        ports = {name: eventually(lambda n=name: line.ops_port(n), what=f"{name} listens") for name in COMMANDS}
        prometheus.scrape(ports)
        eventually(prometheus.all_seen, what="every process was looked at")
        yield World(line, events, images, prometheus)


@contextlib.contextmanager
def _public_address(tmp: Path) -> Iterator[str]:
    made, _ = write_certificates(tmp / "certificates")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made / "cert.pem", made / "key.pem")
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def test_every_alert_fires_when_what_it_warns_of_happens(world: World, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    sample(shop, "nothing yet\n")

    world.fires("EncliiNotSynced", "EncliiExpiresSoon")
    slow_work(world, shop)
    a_push_that_nobody_told(world, shop)
    a_message_of_a_newer_version(world)
    a_signer_that_hangs_and_then_has_no_registry(world, shop)
    a_removal_that_podman_does_not_hear_of(world)
    a_builder_without_room(world)
    a_store_that_is_away_when_people_ask(world)

    assert world.prometheus.fired() == alerts() - ON_KUBERNETES


def slow_work(world: World, shop: Path) -> None:
    """A build that takes long, and a way back to a release that starts slowly."""
    world.silent("EncliiBuildsSlow", "EncliiRollbacksSlow")
    good = (shop / "Dockerfile").read_text()
    head, _, _ = good.partition("CMD")
    (shop / "Dockerfile").write_text(f"{head}{SLOW_STEP}CMD {SLOW_START}\n")
    world.push(shop, "shop", "slow")
    eventually(lambda: world.runs("shop", "v1"), limit=LIMIT, what="v1 runs")
    (shop / "Dockerfile").write_text(good)
    world.push(shop, "shop", "two")
    eventually(lambda: world.runs("shop", "v2"), limit=LIMIT, what="v2 runs")
    world.line.api("/v1/rollbacks", {"project": "shop", "environment": "production", "service": "web"})
    world.fires("EncliiBuildsSlow", "EncliiRollbacksSlow")


def a_push_that_nobody_told(world: World, shop: Path) -> None:
    """A head that moved on the git host's disk, past its hook."""
    world.silent("EncliiDeliveryGap")
    (repository,) = (world.line.home / "githost/repositories").glob("shop/shop*")
    git("commit", "-q", "--allow-empty", "-m", "Told to nobody", cwd=shop)
    git("push", str(repository), "main", cwd=shop)
    world.fires("EncliiDeliveryGap")


def a_message_of_a_newer_version(world: World) -> None:
    """What a newer program left behind when it was taken back."""
    world.silent("EncliiParkedEvents")
    headers = {"ce-type": "dev.enclii.cancel.requested.v99"}
    body = json.dumps({"id": "c-1", "run": "r-1"}).encode()

    async def publish() -> None:
        bus = await connect(world.events.address, name="judge", wait=60)
        await bus.commit(Write("ev.cancel.requested.newer", body, 0, headers))
        await bus.close()

    asyncio.run(publish())
    world.fires("EncliiParkedEvents")


def a_signer_that_hangs_and_then_has_no_registry(world: World, shop: Path) -> None:
    """Stopped, it does not answer and its events grow old; continued without a registry, it fails at each."""
    world.silent("EncliiEventsWait", "EncliiSigningFails")
    world.line.signal("signer", signal.SIGSTOP)
    for project in ("one", "two", "three"):
        world.push(shop, project, project)
    world.fires("EncliiDown", "EncliiAvailabilityLow", "EncliiEventsWait")
    world.images.kill()
    world.line.signal("signer", signal.SIGCONT)
    world.fires("EncliiSigningFails")
    world.images.again()


def a_removal_that_podman_does_not_hear_of(world: World) -> None:
    """Git has the service no longer and podman cannot be reached, so it runs on."""
    world.silent("EncliiResidue")
    configuration = world.line.home / "syncer/containers.conf"
    if not configuration.exists():
        absent("podman takes no configuration of ours on this machine, so it cannot be broken for the line alone")
    good = configuration.read_text()
    configuration.write_text("this is no configuration")
    try:
        world.line.api("/v1/destroys", {"project": "shop", "environment": "production", "service": "web"})
        world.fires("EncliiResidue")
    finally:
        configuration.write_text(good)


def a_builder_without_room(world: World) -> None:
    """A second one, which is to keep more free than the disk has."""
    world.silent("EncliiBuilderDiskFull")
    world.line.more["BUILD_WATERMARK"] = "1000000Gi"
    name = world.line.start_beside("builder")
    world.prometheus.scrape({"builder": eventually(lambda: world.line.ops_port(name), what="it listens")})
    world.fires("EncliiBuilderDiskFull")


def a_store_that_is_away_when_people_ask(world: World) -> None:
    """Every process needs NATS; who gives a command is told so by a 503."""
    world.silent("EncliiCliErrors", "EncliiNotReady")
    world.events.kill()
    done = run_enclii(world.line, "api-token", "restart", "-p", "shop", "-e", "production", "-s", "web")
    assert done.returncode != 0
    world.fires("EncliiNotReady")
    world.events.again()
    world.fires("EncliiCliErrors")
