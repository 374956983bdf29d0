"""How the adapter stands when the API server is away or refuses it, and what the shipped rights allow."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from gitops.clusters import Exited, Printed, ServiceRef, Typed, Wanted, kube_namespaces
from gitops.clusters.kube_api import Api
from gitops.clusters.kube_cache import Cache
from gitops.clusters.kube_errors import Gone
from gitops.clusters.kube_login import Access, login
from gitops.clusters.kube_objects import ConfigMap
from gitops.clusters.kubernetes import Kubernetes
from pipeline.errors import NotFound, Refused
from tests.contract.cluster_contract import LIMIT, a_service, until
from tests.support import kube
from tests.support.kube import KubernetesWorld
from tests.support.kubernetes import kubectl

ROOT = Path(__file__).parents[2]
STAY = "exec sleep 1000"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubernetesWorld]:
    with kube.a_world(tmp_path_factory.mktemp("access")) as made:
        yield made


class Wire:
    """A TCP wire to the API server that can be cut, or left standing while nothing passes."""

    def __init__(self) -> None:
        self._carrying: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        self.passing = asyncio.Event()
        self.passing.set()

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        while self._carrying:
            for task in self._carrying:
                task.cancel()
            await asyncio.wait(self._carrying)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._carry(reader, writer))
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", 6443)
            try:
                await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
            finally:
                back.transport.abort()
        finally:
            writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                await self.passing.wait()
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


Turn = Callable[[Wire], Awaitable[None]]


@contextlib.asynccontextmanager
async def reached(access: Access, instance: str) -> AsyncIterator[Kubernetes]:
    cluster = Kubernetes(login(access), instance=instance, pod_security="privileged")
    try:
        yield cluster
    finally:
        await cluster.close()


async def is_status(cluster: Kubernetes, wanted: Wanted, status: str) -> bool:
    return (await cluster.healthy(wanted)).status == status


COUNTED = 1_000
COUNT = f"i=0; while [ $i -lt {COUNTED} ]; do echo $i; i=$((i+1)); usleep 4000; done; exec sleep 1000"


def test_lines_are_followed_through_cut_connections_without_loss_or_repetition(
    world: KubernetesWorld, tmp_path: Path
) -> None:
    async def go() -> None:
        wire = Wire()
        await wire.mend()
        access = Access(kube.config(tmp_path, server=f"https://127.0.0.1:{wire.port}"))
        async with a_service(world) as service, reached(access, world.instance) as cluster:
            await world.cluster.start(service.script(COUNT))
            numbers: list[int] = []
            async with asyncio.timeout(LIMIT), contextlib.aclosing(cluster.logs(service.ref, follow=True)) as lines:  # type: ignore[type-var]
                async for line in lines:
                    numbers.append(int(line.text))
                    if len(numbers) in (COUNTED // 4, COUNTED // 2):
                        await wire.cut()
                        await wire.mend()
                    if numbers[-1] == COUNTED - 1:
                        break
            assert numbers == list(range(COUNTED))
        await wire.cut()
        await world.close()

    asyncio.run(go())


def test_the_lines_before_the_last_restart_are_asked_for_by_name(world: KubernetesWorld) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            await world.cluster.start(service.script("echo begins; sleep 1; echo dies >&2; exit 3"))

            async def died() -> bool:
                return len([line async for line in world.cluster.logs(service.ref, previous=True)]) == 2

            await until(died)
            found = [line.text async for line in world.cluster.logs(service.ref, previous=True, tail=1)]
            assert found == [b"dies"]
        await world.close()

    asyncio.run(go())


async def hang(wire: Wire) -> None:
    """Keep the connections open and let nothing through."""
    wire.passing.clear()


async def go_on(wire: Wire) -> None:
    wire.passing.set()


@pytest.mark.parametrize(("away", "back"), [(Wire.cut, Wire.mend), (hang, go_on)], ids=["gone", "hanging"])
def test_a_service_is_unknown_while_the_api_server_is_away_and_healthy_again_after(
    world: KubernetesWorld, tmp_path: Path, away: Turn, back: Turn
) -> None:
    async def go() -> None:
        wire = Wire()
        await wire.mend()
        access = Access(kube.config(tmp_path, server=f"https://127.0.0.1:{wire.port}"))
        async with a_service(world) as service, reached(access, world.instance) as cluster:
            wanted = service.script(STAY)
            await cluster.start(wanted)
            await cluster.wait_healthy(wanted, timeout=LIMIT)
            await away(wire)
            await until(lambda: is_status(cluster, wanted, "unknown"))
            assert (await cluster.healthy(wanted)).reason == "cluster_away"
            await back(wire)
            await until(lambda: is_status(cluster, wanted, "healthy"))
        await wire.cut()

    asyncio.run(go())


def test_a_watch_from_a_version_that_is_forgotten_lists_again_and_misses_nothing(world: KubernetesWorld) -> None:
    async def go() -> None:
        api = Api(login(Access(kube.kubeconfig())))
        heard: asyncio.Queue[str] = asyncio.Queue()

        def changed(old: ConfigMap | None, new: ConfigMap | None) -> None:
            heard.put_nowait((new or old or ConfigMap()).metadata.name)

        cache = Cache(api, "/api/v1/namespaces/default/configmaps", ConfigMap, changed)
        cache._version = "1"  # older than anything that the API server can still watch from
        with pytest.raises(Gone):
            await cache._watch()
        watching = asyncio.create_task(cache.run())
        async with asyncio.timeout(LIMIT):
            while await heard.get() != "kube-root-ca.crt":
                pass
        assert cache.fresh
        assert cache.problem is None
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await api.close()

    asyncio.run(go())


def test_expired_credentials_are_read_again_without_a_restart(world: KubernetesWorld, tmp_path: Path) -> None:
    async def go() -> None:
        path = kube.config(tmp_path, token="expired")
        async with reached(Access(path), world.instance) as cluster:
            (finding,) = await cluster.check()
            assert finding.level == "error"
            assert "credentials" in finding.message
            path.write_text(kube.kubeconfig().read_text())
            await until(lambda: _well(cluster))

    asyncio.run(go())


def test_a_right_that_is_missing_says_nothing_about_a_release(world: KubernetesWorld, tmp_path: Path) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            wanted = service.script(STAY)
            await world.cluster.start(wanted)
            await world.cluster.wait_healthy(wanted, timeout=LIMIT)
            nobody = kubectl("-n", f"{service.ref.project}-production", "create", "token", "default").strip()
            async with reached(Access(kube.config(tmp_path, token=nobody)), world.instance) as cluster:
                health = await cluster.healthy(wanted)

        assert (health.status, health.reason) == ("unknown", "cluster_unreadable")
        assert "is forbidden" in (health.detail or "")

    asyncio.run(go())


async def _well(cluster: Kubernetes) -> bool:
    return [one.level for one in await cluster.check()] == ["ok"]


async def nothing() -> AsyncIterator[Typed]:
    for one in ():
        yield one


async def previews_end(cluster: Kubernetes, project: str, instance: str) -> None:
    """The namespace of a preview may be deleted, and no other."""

    async def refused() -> bool:
        try:
            path = f"/api/v1/namespaces/{project}-production"
            await cluster.api.call("DELETE", path, {"dryRun": "All"}, doing="delete somebody's namespace")
        except Refused as error:
            return "previews alone" in error.message
        return False

    await until(refused)  # a policy counts some moments after it was made
    ref = ServiceRef(project, "preview-1", "web")
    made = {"pod_security": "restricted", "instance": instance}
    await kube_namespaces.make(cluster.api, f"{project}-preview-1", "preview-1", **made)
    await kube_namespaces.end(cluster.api, ref, instance=instance)
    with pytest.raises(NotFound):
        await cluster.api.get(f"/api/v1/namespaces/{project}-preview-1", doing="look for it")


NOT_OURS = [
    *(("", "secrets", verb) for verb in ("get", "list", "watch", "update", "patch")),
    *(("", "pods", verb) for verb in ("create", "patch", "delete")),
    *(("", "namespaces", verb) for verb in ("list", "update", "patch")),
    *(("rbac.authorization.k8s.io", kind, "create") for kind in ("roles", "rolebindings", "clusterrolebindings")),
    *(("rbac.authorization.k8s.io", "clusterroles", verb) for verb in ("bind", "escalate")),
    *(("", kind, "impersonate") for kind in ("users", "groups", "serviceaccounts")),
    *(("apps", kind, "create") for kind in ("daemonsets", "statefulsets", "replicasets")),
    ("", "serviceaccounts/token", "create"), ("", "pods/attach", "create"), ("", "pods/portforward", "create"),
    ("", "nodes", "list"), ("", "nodes/proxy", "get"), ("", "persistentvolumes", "create"),
    ("apiextensions.k8s.io", "customresourcedefinitions", "create"), ("argoproj.io", "applications", "list"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies", "delete"), ("*", "*", "*"),
]  # fmt: skip


async def may(cluster: Kubernetes, group: str, resource: str, verb: str) -> bool:
    """Whether the API server would let it, in every namespace."""
    kind, _, part = resource.partition("/")
    asked = {"group": group, "resource": kind, "subresource": part, "verb": verb}
    review = {"spec": {"resourceAttributes": asked}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    answer = json.loads(await cluster.api.call("POST", path, None, review, doing="ask what is allowed"))
    return bool(answer["status"]["allowed"])


def test_the_shipped_rights_suffice_and_read_no_secret(world: KubernetesWorld, tmp_path: Path) -> None:
    async def go(token: str) -> None:
        access = Access(kube.config(tmp_path, token=token))
        async with a_service(world) as service, reached(access, world.instance) as cluster:
            wanted = service.script(f"echo here; {STAY}")
            await cluster.start(wanted)
            await cluster.wait_healthy(wanted, timeout=LIMIT)
            assert [line.text async for line in cluster.logs(service.ref)] == [b"here"]
            told = [one async for one in cluster.execute(service.ref, ["/bin/echo", "well"], nothing())]
            assert told == [Printed("stdout", b"well\n"), Exited(0)]
            await cluster.remove(service.ref, grace=0)
            secrets = f"/api/v1/namespaces/{service.ref.project}-production/secrets"
            for path in (secrets, f"{secrets}/any", "/api/v1/secrets"):
                with pytest.raises(Refused) as caught:
                    await cluster.api.get(path, doing="read secrets")
                assert caught.value.reason == "not_allowed"
            value = {"a": base64.b64encode(b"1").decode()}
            made = {"kind": "Secret", "metadata": {"name": "web-secrets-v1"}, "immutable": True, "data": value}
            await cluster.api.call("POST", secrets, None, made, doing="keep a secret")
            assert [one for one in NOT_OURS if await may(cluster, *one)] == []
            await previews_end(cluster, service.ref.project, world.instance)

    with kube.shipped_rights() as syncer:
        asyncio.run(go(syncer.token))
