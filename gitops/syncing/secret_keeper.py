"""The one process that can open sealed values: it puts them into the cluster and answers with their number.

A value is in memory here for the length of one call, and in no log, event, argument or error.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec

from gitops.clusters import SecretStore, ServiceRef, Wanted
from gitops.layout import place
from gitops.secret_versions import outdated, referred
from pipeline.errors import EncliiError, Invalid, Refused, Retryable
from pipeline.previews import is_preview
from pipeline.records import Deployment, Target
from pipeline.sealing import Opener
from pipeline.secret_requests import VALUE_LIMIT, Reply, StoreSecret, context
from pipeline.servicefile import VARIABLE
from pipeline.store import Store

log = logging.getLogger(__name__)

Stores = Callable[[ServiceRef], Awaitable[SecretStore]]
"""The store of the cluster that an environment is bound to."""


@dataclass(frozen=True)
class SecretKeeper:
    """Answers over the bus; ``opener`` never leaves this process."""

    opener: Opener
    stores: Stores

    async def key(self, _: bytes) -> bytes:
        """The public key that values are to be sealed to."""
        return msgspec.json.encode(Reply(key=self.opener.public))

    async def keep(self, question: bytes) -> bytes:
        """Open and store one value."""
        try:
            return msgspec.json.encode(Reply(number=await self._keep(question)))
        except EncliiError as error:
            retry = isinstance(error, Retryable)
            return msgspec.json.encode(Reply(reason=error.reason, message=error.message, retry=retry))
        except Exception as error:  # its text might quote what was being stored
            log.error("a secret could not be stored: %s", type(error).__name__)
            return msgspec.json.encode(Reply(reason="secret_not_stored", message="the secret could not be stored"))

    async def _keep(self, question: bytes) -> int:
        try:
            asked = msgspec.json.decode(question, type=StoreSecret)
        except msgspec.MsgspecError:
            raise Invalid("not a request to store a secret", reason="bad_request") from None
        place(asked.project, asked.environment, asked.service)
        if not VARIABLE.fullmatch(asked.name):
            raise Invalid("a secret is named like a variable: DATABASE_URL", reason="bad_name")
        where = context(asked.project, asked.environment, asked.service, asked.name)
        value = _checked(self.opener.open(asked.sealed, context=where))
        ref = ServiceRef(asked.project, asked.environment, asked.service)
        number = await (await self.stores(ref)).add(ref, asked.name, value, after=asked.after)
        log.info("%s: %s is v%d", ref, asked.name, number)
        return number


def _checked(value: bytes) -> bytes:
    if not value or len(value) > VALUE_LIMIT:
        raise Invalid(f"a value has 1 to {VALUE_LIMIT >> 10} KiB", reason="bad_value")
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise Invalid(
            "a value is text in UTF-8; encode other bytes, for example as base64", reason="bad_value"
        ) from None
    if "\x00" in text:
        raise Invalid("a variable cannot hold a NUL", reason="bad_value")
    return value


async def present(stores: Stores, deployment: Deployment, wanted: Wanted) -> None:
    """Return if every version that is asked for is there: nothing is started that waits for one. Raises Refused."""
    asked = referred(map(msgspec.json.encode, wanted.documents), wanted.ref.service)
    preview = is_preview(wanted.ref.environment)
    named = [(name, number) for name, number in sorted(deployment.secrets.items()) if number in asked]
    if preview:  # what was set for all previews stands in no note of its own
        named = [("secret", number) for number in sorted(asked)]
    if not named:
        return
    store = await stores(wanted.ref)
    gone = await store.missing(wanted.ref, sorted(number for _, number in named))
    if gone and preview:
        gone = await store.lend(wanted.ref, gone)
    if listed := ", ".join(f"{name} v{number}" for name, number in named if number in gone):
        raise Refused(
            f"the cluster has no {listed}, so nothing was started: set it again with `enclii secret set`",
            reason="secret_version_gone",
        )


async def tidy(store: Store, stores: Stores) -> None:
    """Forget what nothing can come back to, whenever a target changes, for ever."""
    gone: dict[ServiceRef, set[int]] = {}
    async with store.bus.watch("st.target.*") as messages:
        async for message in messages:
            target = msgspec.json.decode(message.data, type=Target)
            if target.tree and not target.secrets:
                continue
            ref = ServiceRef(target.project, target.environment, target.service)
            try:
                going = await _outdated_now(store, ref)
                if fresh := [number for number in going if number not in gone.get(ref, ())]:
                    await (await stores(ref)).remove(ref, fresh)
                    gone.setdefault(ref, set()).update(fresh)
            except EncliiError as error:
                log.warning("old secrets of %s stay: %s", ref, error.message)


async def _outdated_now(store: Store, ref: ServiceRef) -> list[int]:
    now = await store.get(Target, ref.project, ref.environment, ref.service)
    if now is None:
        return []
    known = await asyncio.gather(*(store.get(Deployment, one) for one in now.record.recent))
    return outdated(now.record, [one.record for one in known if one is not None])
