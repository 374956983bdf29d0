"""Which registered repository a delivery is of, and what its forge calls it whatever its name.

A repository's own hook says which one is meant, because the hook's secret is what was proven. A GitHub App has one hook
for all: there GitHub's word, signed with the App's secret, says it, and the numeric id decides as soon as it is known.
The forge's id in a first delivery is remembered, so a hook that was pasted into another repository is refused, a
repository that was renamed keeps working, and one that took over an old name is not mistaken for it.
"""

from __future__ import annotations

from typing import ClassVar

from pipeline.errors import Refused
from pipeline.events import Delivery
from pipeline.records import Record, Repository
from pipeline.store import Change, Store

APP_HOOK = "app"
"""The hook of a GitHub App, which is no repository's own."""


class HookOrigin(Record, frozen=True, kw_only=True):
    """The repository that a hook's first delivery came from, by the forge's own id."""

    kind: ClassVar[str] = "hook"
    hook: str
    repository: str  # "github:123456"

    @property
    def key(self) -> tuple[str, ...]:
        return (self.hook,)


class Origin(Record, frozen=True, kw_only=True):
    """Which registered repository a forge's own id stands for, and its name there when that was last said."""

    kind: ClassVar[str] = "origin"
    id: str  # "github:123456"
    repository: str  # as registered: "github:owner/name"
    name: str = ""

    @property
    def key(self) -> tuple[str, ...]:
        return (self.id,)


async def linked(store: Store, repository: str) -> Repository | None:
    """The repository that a project has linked, by the forge's own id of it or as it is registered."""
    known = await store.get(Origin, repository)
    found = await store.get(Repository, known.record.repository if known else repository)
    return found.record if found and found.record.project else None


async def numbered(store: Store, repository: str) -> str:
    """The forge's own id of a repository that is named as it is registered; the name itself while none is known."""
    if await store.get(Origin, repository) is not None:
        return repository
    return next((one.id for one in await store.all(Origin) if one.repository == repository), repository)


async def registered(store: Store, delivery: Delivery) -> Repository | None:
    """The repository that a project has linked; None when there is none, or none any more."""
    if delivery.hook == APP_HOOK:
        return await _of_app(store, delivery)
    if delivery.hook:
        every = await store.all(Repository)
        return next((one for one in every if one.hook == delivery.hook and one.project), None)
    found = await store.get(Repository, delivery.repository)
    return found.record if found and found.record.project else None


async def _of_app(store: Store, delivery: Delivery) -> Repository | None:
    known = await store.get(Origin, delivery.repository) if delivery.repository else None
    if known is not None:
        found = await store.get(Repository, known.record.repository)
        if found is not None and found.record.project:
            return found.record
    named = await store.get(Repository, f"{delivery.forge}:{delivery.name.lower()}") if delivery.name else None
    if named is None or not named.record.project:
        return None
    others = await store.all(Origin)
    taken = any(one.repository == named.record.id and one.id != delivery.repository for one in others)
    return None if taken else named.record


async def remembered(store: Store, delivery: Delivery, repository: Repository) -> tuple[Change, ...]:
    """What a delivery adds to what is known. Raises Refused when its hook is another repository's."""
    if not delivery.hook or not delivery.repository:
        return ()
    hook: tuple[Change, ...] = ()
    if delivery.hook != APP_HOOK:
        known = await store.get(HookOrigin, delivery.hook)
        if known is None:
            hook = (Change(HookOrigin(hook=delivery.hook, repository=delivery.repository), 0),)
        elif known.record.repository != delivery.repository:
            text = f"this hook is of {known.record.repository}, the delivery of {delivery.repository}"
            raise Refused(f"{text}; enclii link --rotate makes a new hook", reason="other_repository")
    return (*hook, *await _named(store, delivery, repository))


async def _named(store: Store, delivery: Delivery, repository: Repository) -> tuple[Change, ...]:
    wanted = Origin(id=delivery.repository, repository=repository.id, name=delivery.name)
    found = await store.get(Origin, wanted.id)
    if found is None:
        return (Change(wanted, 0),)
    if (found.record.repository, found.record.name) == (wanted.repository, wanted.name or found.record.name):
        return ()
    return (Change(wanted, found.seq),)
