"""The stores of secrets of podman and of Kubernetes: numbered versions that a container gets and nobody reads back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from uuid import uuid4

import pytest

from gitops.clusters import SecretStore, ServiceRef
from gitops.clusters.podman import Podman
from tests.support.components import needs
from tests.support.kube import adapter, an_instance
from tests.support.kubernetes import kubectl

REF = ServiceRef("shop", "production", "web")
Opened = Callable[[], AbstractAsyncContextManager[SecretStore]]


@asynccontextmanager
async def podman() -> AsyncIterator[SecretStore]:
    needs("podman")
    store = Podman(instance=f"d-{uuid4().hex[:8]}").secrets("")
    try:
        yield store
    finally:
        await store.remove(REF, list(range(10)))


@asynccontextmanager
async def kubernetes() -> AsyncIterator[SecretStore]:
    with an_instance("d-secrets") as instance:
        cluster = adapter(instance)
        try:
            yield cluster.secrets(instance)
        finally:
            await cluster.close()


def on(opened: Opened, check: Callable[[SecretStore], Awaitable[None]]) -> None:
    async def go() -> None:
        async with opened() as store:
            await check(store)

    asyncio.run(go())


@pytest.mark.parametrize("opened", [podman, kubernetes])
def test_every_value_gets_a_number_of_its_own(opened: Opened) -> None:
    async def check(store: SecretStore) -> None:
        assert await store.add(REF, "TOKEN", b"one", after=0) == 1
        assert await store.add(REF, "OTHER", b"two", after=0) == 2
        assert await store.add(REF, "TOKEN", b"three", after=6) == 7

    on(opened, check)


@pytest.mark.parametrize("opened", [podman, kubernetes])
def test_a_version_that_is_gone_can_be_removed_again(opened: Opened) -> None:
    async def check(store: SecretStore) -> None:
        await store.add(REF, "TOKEN", b"one", after=0)
        await store.remove(REF, [1, 5])
        await store.remove(REF, [1])

        assert await store.add(REF, "TOKEN", b"one", after=0) == 1

    on(opened, check)


@pytest.mark.parametrize("opened", [podman, kubernetes])
def test_a_version_that_is_missing_is_named(opened: Opened) -> None:
    async def check(store: SecretStore) -> None:
        assert await store.missing(REF, [1]) == [1]
        await store.add(REF, "TOKEN", b"one", after=0)
        await store.add(REF, "TOKEN", b"two", after=0)
        await store.remove(REF, [1])

        assert await store.missing(REF, [1, 2, 3]) == [1, 3]

    on(opened, check)


@pytest.mark.parametrize("opened", [podman, kubernetes])
def test_values_that_are_set_at_once_do_not_meet(opened: Opened) -> None:
    async def check(store: SecretStore) -> None:
        numbers = await asyncio.gather(*(store.add(REF, "TOKEN", b"value", after=0) for _ in range(4)))

        assert sorted(numbers) == [1, 2, 3, 4]

    on(opened, check)


def test_on_kubernetes_a_version_is_immutable_and_carries_one_key() -> None:
    with an_instance("d-secrets") as instance:

        async def go() -> None:
            cluster = adapter(instance)
            await cluster.secrets(instance).add(REF, "TOKEN", b"hunter2", after=2)
            await cluster.close()

        asyncio.run(go())

        found = json.loads(kubectl("-n", instance, "get", "secret", "web-secrets-v3", "-o", "json"))
        assert (found["immutable"], list(found["data"])) == (True, ["TOKEN"])
