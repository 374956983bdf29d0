"""Commands that were taken up and whose end is not there yet: the reaction that says how it went comes later.

A reaction is best effort: one that cannot be made holds nothing up, and 👀 alone is no promise.
"""

from __future__ import annotations

import logging
from typing import Final

from msgspec.structs import replace

from gitops.forge import Reaction
from gitops.forge.forges import Place
from pipeline.answers import Answer
from pipeline.errors import EncliiError
from pipeline.previews import Preview, PreviewState
from pipeline.records import Decision
from pipeline.store import Change, Step, Store, now

log = logging.getLogger(__name__)

WAITING: Final = "waiting"
ENDS: Final[dict[PreviewState, Reaction]] = {"ready": "rocket", "failed": "confused", "removed": "confused"}
OUTCOMES: Final[dict[str, Reaction]] = {"refused": "-1", "failed": "confused"}
COMMAND: Final = "/command"
"""What a command's id has behind its comment's."""


def subject(number: int, comment: str) -> str:
    """Under which a command waits for its end."""
    return f"command/{number}/{comment}"


class Pending:
    """The commands that wait, by pull request; the records are the truth, the dictionary says where to look."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[tuple[str, int], set[str]] = {}

    async def load(self) -> None:
        """Read those that waited when the process ended."""
        for one in await self._store.all(Answer):
            kind, _, rest = one.about.partition("/")
            if kind == "command" and one.said == WAITING:
                number, _, comment = rest.partition("/")
                self.add(one.repository, int(number), comment)

    def add(self, repository: str, number: int, comment: str) -> Answer:
        """A preview's command was taken up: its record, to be written with the command itself."""
        self._waiting.setdefault((repository, number), set()).add(comment)
        return Answer(repository=repository, about=subject(number, comment), said=WAITING, remote=comment, at=now())

    async def ended(self, place: Place, preview: Preview) -> None:
        """React to the commands that made this preview, once it is what they asked for, or will not be."""
        reaction = ENDS.get(preview.state)
        if reaction is None:
            return
        key = (preview.repository, preview.number)
        for comment in sorted(self._waiting.get(key, ())):
            known = await self._store.get(Answer, preview.repository, subject(preview.number, comment))
            if known is not None and preview.state == "ready" and preview.active_at < known.record.at:
                continue  # it was ready before the command, which has not been heard yet
            await react(place, preview.number, comment, reaction)
            await self._end(preview.repository, preview.number, comment, reaction)

    async def decided(self, place: Place, comment: str, decision: Decision) -> None:
        """React to what was decided of a command: what was refused ends here, what is done at once too."""
        origin = place.where.origin
        waiting = [
            number for (repository, number), some in self._waiting.items() if repository == origin and comment in some
        ]
        reaction = OUTCOMES.get(decision.outcome, None if waiting else "rocket")
        done = Answer(repository=origin, about=f"decided/{decision.id}", remote=comment, at=now())
        if reaction is None or await self._store.get(Answer, *done.key) is not None:
            return
        await react(place, waiting[0] if waiting else 0, comment, reaction)
        await self._store.commit(Step((Change(done, None),)))
        for number in waiting:
            await self._end(origin, number, comment, reaction)

    async def _end(self, repository: str, number: int, comment: str, reaction: str) -> None:
        found = await self._store.get(Answer, repository, subject(number, comment))
        if found is not None:
            told = replace(found.record, said=reaction, at=now())
            await self._store.commit(Step((Change(told, None),)))
        self._waiting.get((repository, number), set()).discard(comment)


async def react(place: Place, number: int, comment: str, reaction: Reaction) -> None:
    """Add a reaction, if the forge takes it now."""
    try:
        await place.forge.react(place.where, number, comment, reaction)
    except EncliiError as error:
        log.info("no reaction %s to %s: %s", reaction, comment, error)
