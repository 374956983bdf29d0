"""Which forge a registered repository is on, opened with its credential, and what it is called there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from gitops.forge import Forge, Where
from gitops.forge.credentials import Credential, configured, read
from pipeline.errors import Refused
from pipeline.origin import Origin
from pipeline.records import Repository
from pipeline.store import Change, Step, Store

Open = Callable[[Credential], Forge]


@dataclass(frozen=True)
class Place:
    """A registered repository that is on a forge with a credential."""

    repository: Repository
    forge: Forge
    where: Where


@dataclass
class Forges:
    """The forges of one installation; a credential is read when it is first needed."""

    store: Store
    folder: Path
    openers: Mapping[str, Open]
    _opened: dict[str, Forge] = field(default_factory=dict)

    async def of(self, repository: str) -> Place | None:
        """The place of a repository, by its number or as it is registered; None when it is on no known forge.

        Raises as the forge does, which is asked for the number of one that was never heard of.
        """
        registered, origin = await self._registered(repository)
        if registered is None or not registered.project or registered.forge == "local":
            return None
        forge = await self.on(registered)
        if forge is None:
            return None
        if origin is None or not origin.name:
            origin = await self._asked(registered, forge, origin)
        return Place(registered, forge, Where(origin.id, origin.name))

    async def on(self, repository: Repository) -> Forge | None:
        """The forge at the host of the repository's address. Raises Refused for a credential that is unfit."""
        host = urlsplit(repository.url).netloc.rpartition("@")[2].lower()
        forge = await self.at(host)
        if forge is not None and forge.name != repository.forge:
            raise Refused(f"the credential of {host} is for {forge.name}", reason="credential_unfit")
        return forge

    async def at(self, host: str) -> Forge | None:
        """The forge at a host; None without a credential. Raises Refused for one that is unfit."""
        if host not in self._opened:
            file = configured(self.folder).get(host)
            if file is None:
                return None
            credential = await asyncio.to_thread(read, file)
            self._opened[host] = self.openers[credential.forge](credential)
        return self._opened[host]

    async def _registered(self, repository: str) -> tuple[Repository | None, Origin | None]:
        known = await self.store.get(Origin, repository)
        if known is not None:
            found = await self.store.get(Repository, known.record.repository)
            return (found.record if found else None), known.record
        found = await self.store.get(Repository, repository)
        if found is None:
            return None, None
        every = await self.store.all(Origin)
        return found.record, next((one for one in every if one.repository == repository), None)

    async def _asked(self, repository: Repository, forge: Forge, known: Origin | None) -> Origin:
        name = urlsplit(repository.url).path.strip("/").removesuffix(".git")
        found = await forge.lookup(Where(known.id if known else "", name))
        origin = Origin(id=found.origin, repository=repository.id, name=found.name)
        await self.store.commit(Step((Change(origin, None),)))
        return origin
