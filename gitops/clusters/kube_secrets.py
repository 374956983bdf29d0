"""Kubernetes Secrets as a store of secrets: one immutable object a version, made and forgotten, never read back.

The rights to create and to delete are enough: whoever may list Secrets may read them. Only what was set for previews
is read, by name and in its own namespace, for each preview has another one.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from gitops.clusters import ServiceRef
from gitops.clusters.kube_api import Api
from gitops.clusters.kube_plan import labels
from gitops.rendering.secrets import object_name
from pipeline.errors import Conflict, EncliiError, NotFound, Refused, Retryable, Unavailable
from pipeline.previews import SCOPE

TRIES = 20


class _Secret(msgspec.Struct):
    data: dict[str, str] = {}


def after_names(ref: ServiceRef) -> str:
    """The namespace of an environment that is bound to none."""
    return f"{ref.project}-{ref.environment}"


class KubeSecrets:
    """The Secrets of one namespace ("": after project and environment) that belong to one installation."""

    def __init__(
        self, api: Api, namespace: str, instance: str, make_namespace: Callable[[str, str], Awaitable[None]]
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._instance = instance
        self._make_namespace = make_namespace

    async def add(self, ref: ServiceRef, name: str, value: bytes, *, after: int) -> int:
        number = after
        for _ in range(TRIES):
            number += 1
            try:
                made = await self._create(ref, number, name, value)
            except NotFound:
                made = await self._create(ref, number, name, value)
            if made:
                return number
        raise Unavailable("no free version was found: too many are set at once", reason="secret_busy")

    async def missing(self, ref: ServiceRef, numbers: list[int]) -> list[int]:
        """Asked by a dry run that would make each: what is there is in the way, and none is read."""
        return [number for number in numbers if not await self._there(ref, number)]

    async def lend(self, ref: ServiceRef, numbers: list[int]) -> list[int]:
        """A Secret belongs to one namespace: a preview gets a copy of what was set for all previews."""
        return [number for number in numbers if not await self._lent(ref, number)]

    async def _lent(self, ref: ServiceRef, number: int) -> bool:
        shared = replace(ref, environment=SCOPE)
        try:
            path = f"{self._path(shared)}/{object_name(ref.service, number)}"
            found = msgspec.json.decode(await self._api.get(path, doing="read a secret of previews"), type=_Secret)
        except NotFound:
            return False
        except Refused as error:
            raise Refused(
                f"the syncer may not read the Secrets of previews in {after_names(shared)}: apply"
                " manifests/rbac/previews.yaml and bind its role there, as docs/previews.md says",
                reason="preview_secrets_unreadable",
            ) from error
        for _ in range(2):
            with contextlib.suppress(NotFound):  # its namespace is made at the first attempt
                await self._store(ref, number, found.data)
                break
        return True

    async def _there(self, ref: ServiceRef, number: int) -> bool:
        try:
            return not await self._create(ref, number, "ANY", b"", dry_run=True)
        except NotFound:  # nor is its namespace
            return False
        except Refused:  # a quota or a policy that knows no dry run: nothing is said about what is there
            return True

    async def remove(self, ref: ServiceRef, numbers: list[int]) -> None:
        for number in numbers:
            try:
                path = f"{self._path(ref)}/{object_name(ref.service, number)}"
                await self._api.call("DELETE", path, doing="forget an old secret")
            except NotFound:
                continue

    async def _create(self, ref: ServiceRef, number: int, name: str, value: bytes, *, dry_run: bool = False) -> bool:
        return await self._store(ref, number, {name: base64.b64encode(value).decode()}, dry_run=dry_run)

    async def _store(self, ref: ServiceRef, number: int, data: Mapping[str, str], *, dry_run: bool = False) -> bool:
        document: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": object_name(ref.service, number), "labels": labels(self._instance, ref)},
            "type": "Opaque",
            "immutable": True,
            "data": dict(data),
        }
        doing = f"store v{number} of a secret"
        try:
            query = {"dryRun": "All"} if dry_run else None
            await self._api.call("POST", self._path(ref), query, document, doing=doing)
        except Conflict:
            return False
        except NotFound:  # nothing was deployed there yet
            if dry_run:
                raise
            await self._make_namespace(self._namespace or after_names(ref), ref.environment)
            raise
        except EncliiError as error:  # its text may quote what was sent, as an admission webhook's does
            kind = Unavailable if isinstance(error, Retryable) else Refused
            raise kind("the cluster did not take the secret", reason=error.reason) from None
        return True

    def _path(self, ref: ServiceRef) -> str:
        return f"/api/v1/namespaces/{self._namespace or after_names(ref)}/secrets"
