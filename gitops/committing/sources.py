"""What is asked of registered repositories: which commit comes after which, and what a commit says of a service."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import msgspec

from pipeline.errors import EncliiError
from pipeline.mirror import Mirror
from pipeline.mirrors import Mirrors
from pipeline.records import Repository, Run
from pipeline.store import Store

AT_ONCE = 4
log = logging.getLogger(__name__)


class Sources:
    """The repositories, by mirrors of the asking process's own."""

    def __init__(self, store: Store, mirrors: Mirrors) -> None:
        self._store, self._mirrors = store, mirrors

    async def is_descendant(self, repository: str, new: str, old: str) -> bool | None:
        """True if ``new`` comes after ``old``; None when one of them is not known there."""
        mirror = await self._mirror(repository)
        if mirror is None:
            return None
        for sha in (new, old):
            if not await asyncio.to_thread(mirror.has, sha):
                await mirror.fetch_commit(sha)
        return await asyncio.to_thread(mirror.is_ancestor, old, new)

    async def on_branch(self, repository: str, sha: str, branch: str) -> bool | None:
        """True if the branch holds the commit now; None when one of them is not known there."""
        mirror = await self._mirror(repository)
        head = await mirror.head(f"refs/heads/{branch}") if mirror is not None and branch else None
        if head is None or head == sha:
            return None if head is None else True
        return await self.is_descendant(repository, head, sha)

    async def follow(self) -> None:
        """Bring the commit of each new run here while it is built, for ever: nobody waits for it at the end.

        What is missed, or cannot be had now, is fetched when it is asked for.
        """
        places = asyncio.Semaphore(AT_ONCE)
        told = await self._store.bus.asked("STREAM.INFO.PIPE", {})
        newest = int(told.get("state", {}).get("last_seq", 0))
        async with asyncio.TaskGroup() as group, self._store.bus.watch("st.run.*", after=newest) as messages:
            async for message in messages:
                run = msgspec.json.decode(message.data, type=Run)
                if run.status == "running" and run.preview is None:
                    await places.acquire()
                    group.create_task(self._bring(run)).add_done_callback(lambda _: places.release())

    async def _bring(self, run: Run) -> None:
        with contextlib.suppress(EncliiError):
            await self.is_descendant(run.repository, run.sha, run.sha)

    async def spec_of(self, repository: Repository, sha: str, service: str) -> bytes | None:
        """The service as that commit has it, as JSON; None when the commit or the service cannot be read."""
        from pipeline.services import services_of

        try:
            mirror = await self._mirrors.of(repository)
            if not await asyncio.to_thread(mirror.has, sha):
                await mirror.fetch_commit(sha)
            found = await asyncio.to_thread(services_of, mirror, sha, repository.name)
        except EncliiError as error:
            log.warning("%s at %s cannot be read any more: %s", repository.id, sha[:12], error)
            return None
        return next((msgspec.json.encode(one) for one in found.services if one.name == service), None)

    async def _mirror(self, repository: str) -> Mirror | None:
        found = await self._store.get(Repository, repository)
        return await self._mirrors.of(found.record) if found else None
