"""Podman's secret store as a store of secrets: values go in on stdin, and only podman hands them to a container.

A secret is a JSON document of one key with its value in base64, which is the form that ``secretKeyRef`` asks for.
"""

from __future__ import annotations

import base64
import json

from gitops.clusters import ServiceRef
from gitops.clusters import podman_commands as commands
from gitops.clusters.podman_calls import QUICK, Calls
from gitops.rendering.secrets import object_name
from pipeline import process
from pipeline.errors import Unavailable
from pipeline.process import CommandFailed, CommandTimeout

TRIES = 20


class PodmanSecrets:
    """The secret store of this machine's podman, the part that belongs to one installation."""

    def __init__(self, calls: Calls, instance: str) -> None:
        self._calls = calls
        self._instance = instance

    async def add(self, ref: ServiceRef, name: str, value: bytes, *, after: int) -> int:
        document = json.dumps({name: base64.b64encode(value).decode()}).encode()
        number = after
        for _ in range(TRIES):
            number += 1
            if await self._create(self._name(ref, number), document):
                return number
        raise Unavailable("no free version was found: too many are set at once", reason="secret_busy")

    async def missing(self, ref: ServiceRef, numbers: list[int]) -> list[int]:
        there = set(await self._calls.names(commands.secret_list(), "list secrets"))
        return [number for number in numbers if self._name(ref, number) not in there]

    async def lend(self, ref: ServiceRef, numbers: list[int]) -> list[int]:
        """All previews share one store here, so what is missing is nowhere."""
        return numbers

    async def remove(self, ref: ServiceRef, numbers: list[int]) -> None:
        there = set(await self._calls.names(commands.secret_list(), "list secrets"))
        if going := sorted({self._name(ref, number) for number in numbers} & there):
            await self._calls.run(commands.secret_remove(going), "remove secrets")

    def _name(self, ref: ServiceRef, number: int) -> str:
        return commands.secret_prefix(self._instance, ref) + object_name(ref.service, number)

    async def _create(self, name: str, document: bytes) -> bool:
        """False when the number was taken meanwhile. What podman says is not repeated: it might quote its input."""
        try:
            await process.run(commands.secret_create(name), small=document, timeout=QUICK, env=self._calls.env)
        except CommandFailed as error:
            if b"in use" in error.stderr:
                return False
            raise Unavailable(
                f"podman did not take the secret (code {error.returncode})", reason="podman_failed"
            ) from None
        except CommandTimeout as error:
            raise commands.fault(error, "store a secret") from None
        return True
