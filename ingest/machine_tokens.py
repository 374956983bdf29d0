"""Programs with a token of Enclii's own (``enclii token create``) push and fetch what its scope covers.

A person's login is not taken: what it may changes with the identity provider's word, which the git host never asks.
"""

from __future__ import annotations

from ingest.access import Caller
from ingest.gitrepos import RepositoryName
from pipeline.access import may
from pipeline.principals import Token
from pipeline.records import Project
from pipeline.store import Store
from pipeline.token_text import lasts, number_in, opens

DEEPEST = 8
ORIGIN = "token:"


class MachineTokens:
    """The tokens in the event store, read anew for each request. Calls raise Unavailable while it does not answer."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def caller(self, secret: str, repository: RepositoryName) -> Caller | None:
        """Who that is, and what of this repository they may: fetch it as a viewer of the project, push as a deployer.

        A push goes wherever its branch does, so roles in single environments do not count here.
        """
        found = await self._token(number_in(secret))
        if found is None or not opens(found, secret) or found.who.listed or not await self._counts(found):
            return None
        project = await self._store.get(Project, repository.project)
        record = project.record if project else None
        reads = may(found.who, "viewer", record) and not repository.is_config
        writes = may(found.who, "deployer", record) and not repository.is_config
        return Caller("machine", found.who.name, reads=reads, writes=writes)

    async def _counts(self, token: Token) -> bool:
        """Whether all count that it came of."""
        for _ in range(DEEPEST):
            if not token.origin:
                return True
            parent = await self._token(token.origin.removeprefix(ORIGIN)) if token.origin.startswith(ORIGIN) else None
            if parent is None or not lasts(parent):
                return False
            token = parent
        return False

    async def _token(self, number: str) -> Token | None:
        found = await self._store.get(Token, number) if number else None
        return found.record if found else None
