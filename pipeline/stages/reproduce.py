"""Reproduce: builds a sample of what was released once more, without any cache, to compare the digests.

It begins when the release is ready, so nothing waits for it. The builder says what came of it, and the signer, who asks
the registry for it, attests that (``pipeline.stages.witness``).
"""

from __future__ import annotations

import datetime
import hashlib
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from pipeline import jobs
from pipeline.errors import Permanent
from pipeline.events import BuildRequested, Event, ImageBuilt, ImageRebuilt, ReleaseReady
from pipeline.names import token
from pipeline.stages.build import BuildStage
from pipeline.store import Step, Store, now

E = TypeVar("E", bound=Event)
AGE = datetime.timedelta(days=1)
"""Older releases are passed over, or a rate that is set for the first time would build all of history again."""


@dataclass(frozen=True)
class Reproducer:
    """The stage with its ports; ``rate`` is the share of built releases that are built again, from 0 to 1."""

    store: Store
    builds: BuildStage
    rate: float

    async def handle(self, event: Event) -> Step:
        """Build the image of one release again if it is in the sample."""
        assert isinstance(event, ReleaseReady)
        if not sampled(event.id, self.rate) or _old(event.at):
            return Step()
        if await jobs.of_preview(self.store, event.run):
            return Step()
        request, first = await self._event(BuildRequested, event.id), await self._event(ImageBuilt, event.id)
        if request is None or first is None or first.reused:
            return Step()
        begun = now()
        rebuilt, failure = "", ""
        try:
            rebuilt = await self.builds.again(request)
        except Permanent as error:  # sources that build once and not twice are an answer too
            failure = error.reason
        told = ImageRebuilt(
            id=event.id, at=now(), trace=event.trace, run=event.run, project=event.project, service=event.service,
            image=first.image, rebuilt=rebuilt, failure=failure, build_key=first.build_key, builder=first.builder,
            started_at=begun, finished_at=now(),
        )  # fmt: skip
        return Step(events=(told,))

    async def _event(self, kind: type[E], of: str) -> E | None:
        found = await self.store.bus.get(f"ev.{kind.type}.{token(of)}")
        return msgspec.json.decode(found.data, type=kind) if found else None


def sampled(release: str, rate: float) -> bool:
    """Whether a release is in the sample: decided by its id alone, so that whoever asks again hears the same."""
    return int.from_bytes(hashlib.sha256(release.encode()).digest()[:8]) < rate * 2**64


def _old(at: str) -> bool:
    return datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(at) > AGE
