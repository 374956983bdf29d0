"""A process with one slow stage: it says that it has begun, and is done when it is told to go; both by records.

It is the signer by name, which needs the fewest settings; what it does is of no importance here.
"""

from __future__ import annotations

from pipeline.events import Event, ImageBuilt
from pipeline.main import Process, main
from pipeline.records import Decision
from pipeline.store import Change, Step
from pipeline.worker import Stage, work

BEGUN, GO, DONE = "begun", "go", "done"
LONG = 600.0


def said(word: str) -> Step:
    """A step that says one word to whoever watches."""
    return Step((Change(Decision(id=word, about="command", outcome="accepted", reason=word, message=""), None),))


async def body(process: Process) -> None:
    async def handle(_: Event) -> Step:
        await process.store.commit(said(BEGUN))
        told = await process.store.first(Decision, GO, such=lambda one: True, limit=LONG)
        return said(DONE) if told else Step()

    await work(Stage("draining", (ImageBuilt,), handle), process.store, process.stopping)


if __name__ == "__main__":
    main("signer", body)
