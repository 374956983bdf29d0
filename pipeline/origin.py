"""Which registered repository a delivery is of: the hook says it, because the hook's secret is what was proven.

What a body says of its repository is a hint. The forge's own id in a hook's first delivery is remembered, so a hook
that was pasted into another repository is refused, and a repository that was renamed keeps working.
"""

from __future__ import annotations

from typing import ClassVar

from pipeline.errors import Refused
from pipeline.events import Delivery
from pipeline.records import Record, Repository
from pipeline.store import Change, Store


class HookOrigin(Record, frozen=True, kw_only=True):
    """The repository that a hook's first delivery came from, by the forge's own id."""

    kind: ClassVar[str] = "hook"
    hook: str
    repository: str  # "github:123456"

    @property
    def key(self) -> tuple[str, ...]:
        return (self.hook,)


async def registered(store: Store, delivery: Delivery) -> Repository | None:
    """The repository that a project has linked; None when there is none, or none any more."""
    if delivery.hook:
        every = await store.all(Repository)
        return next((one for one in every if one.hook == delivery.hook and one.project), None)
    found = await store.get(Repository, delivery.repository)
    return found.record if found and found.record.project else None


async def remembered(store: Store, delivery: Delivery) -> tuple[Change, ...]:
    """What a hook's first delivery adds to the state. Raises Refused when a later one is of another repository."""
    if not delivery.hook or not delivery.repository:
        return ()
    known = await store.get(HookOrigin, delivery.hook)
    if known is None:
        return (Change(HookOrigin(hook=delivery.hook, repository=delivery.repository), 0),)
    if known.record.repository != delivery.repository:
        text = f"this hook is of {known.record.repository}, the delivery of {delivery.repository}"
        raise Refused(f"{text}; enclii link --rotate makes a new hook", reason="other_repository")
    return ()
