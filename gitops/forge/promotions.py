"""Watches promotions for what forges know of them: the checks of their commits, and the pull request of their branch.

A forge is asked when a promotion changed or one of its webhooks came; besides every few seconds, with the tag of its
last answer, as long as something waits there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

import msgspec

from gitops.forge.commit_checks import CommitChecks
from gitops.forge.proposals import Proposals
from pipeline.errors import EncliiError, Unavailable
from pipeline.promotions import OPEN, Promotion
from pipeline.records import Decision
from pipeline.store import Store

log = logging.getLogger(__name__)

PAUSE = 15.0


class Promotions:
    """The open promotions by their id, looked after one after the other."""

    def __init__(self, store: Store, checks: CommitChecks, proposals: Proposals, *, pause: float = PAUSE) -> None:
        self._store, self._checks, self._proposals = store, checks, proposals
        self._pause = pause
        self._open: dict[str, Promotion] = {}
        self._changed = asyncio.Event()
        self._troubles: dict[str, str] = {}

    async def follow(self) -> None:
        """Watch the promotions, for ever."""
        async with self._store.bus.watch("st.promotion.*") as messages:
            async for message in messages:
                one = msgspec.json.decode(message.data, type=Promotion)
                self._open.pop(one.id, None)
                self._troubles.pop(one.id, None)
                if one.status in OPEN and not one.pushed:
                    self._open[one.id] = one
                    self._changed.set()

    async def hints(self) -> None:
        """Look at once when a webhook came that may be about a promotion, for ever."""
        async with self._store.bus.watch("st.decision.*") as messages:
            async for message in messages:
                decision = msgspec.json.decode(message.data, type=Decision)
                about_us = decision.repository and decision.repository == self._proposals.origin
                if decision.about == "delivery" and (about_us or self._open):
                    self._changed.set()

    async def work(self) -> None:
        """Look again and again, for ever; a forge that is away or asks for patience only makes it later."""
        while True:
            self._changed.clear()
            rest = await self.look()
            await asyncio.sleep(rest)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause):
                    await self._changed.wait()

    async def look(self) -> float:
        """Look once; the seconds that a forge asked to be left alone for."""
        rest = 0.0
        for one in list(self._open.values()):
            rest = max(rest, await self._tend(one))
        try:
            await self._proposals.look()
        except EncliiError as error:
            rest = max(rest, self._patience(error, "the config repository"))
        return rest

    async def _tend(self, one: Promotion) -> float:
        rest = 0.0
        for tend in (self._checks.tend, self._proposals.tend):
            try:
                await tend(one)
            except EncliiError as error:
                rest = max(rest, self._patience(error, one.id))
        return rest

    def _patience(self, error: EncliiError, what: str) -> float:
        """The seconds to wait for a forge that asks for them; a trouble that stays is logged once."""
        if self._troubles.get(what) != error.message:
            log.warning("%s was not looked at: %s", what, error)
        self._troubles[what] = error.message
        return error.delay or 0.0 if isinstance(error, Unavailable) and error.reason == "forge_limited" else 0.0
