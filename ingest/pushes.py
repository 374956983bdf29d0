"""What a push to the git host becomes: one delivery for each ref, and the wish to register a new repository.

Both the hook and the safety net say it through ``announce``. The ids come from the stored intent, so whoever is
second changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ingest.gitrepos import RepositoryName
from pipeline import trace
from pipeline.events import Delivery, LinkRequested
from pipeline.names import branch, is_zero
from pipeline.records import Push, Repository
from pipeline.store import Store, now

DEFAULT_BRANCHES = ("refs/heads/main", "refs/heads/master")


def delivery_of(push: Push) -> Delivery:
    """The delivery that says what this intent meant to do."""
    return Delivery(
        id=push.delivery,
        at=push.at,
        trace=trace.new(),
        forge="local",
        kind="push",
        repository=push.repository,
        ref=push.ref,
        before=push.before,
        after=push.after,
        actor=push.actor,
    )


def first_branch(refs: Mapping[str, str]) -> str | None:
    """The branch that feeds production when nobody has said which: main, master or the first one that exists."""
    heads = [ref for ref, value in refs.items() if branch(ref) and not is_zero(value)]
    return next((branch(ref) for ref in (*DEFAULT_BRANCHES, *heads) if ref in heads), None)


def link_of(repository: RepositoryName, *, url: str, production: str, actor: str) -> LinkRequested:
    """The wish that a repository which came by its first push belongs to the project in its address."""
    return LinkRequested(
        id=f"link:{repository.id}",
        at=now(),
        project=repository.project,
        repository=repository.id,
        name=repository.name,
        forge="local",
        url=url,
        actor=actor,
        branches={"production": production},
    )


@dataclass(frozen=True)
class Announcer:
    """Publishes what pushes became; ``git_url`` is where the other processes fetch from."""

    store: Store
    git_url: str

    async def register(self, repository: RepositoryName, refs: Mapping[str, str], actor: str) -> None:
        """Ask for the registration of a repository that no project knows yet. Raises Unavailable."""
        production = first_branch(refs)
        if production is None or await self.store.get(Repository, repository.id) is not None:
            return
        url = f"{self.git_url.rstrip('/')}/{repository.project}/{repository.name}.git"
        await self.store.publish(link_of(repository, url=url, production=production, actor=actor))

    async def announce(self, repository: RepositoryName, pushes: Iterable[Push]) -> None:
        """Publish a delivery for each push, the registration before them. Raises Unavailable."""
        several = tuple(pushes)
        if several:
            await self.register(repository, {push.ref: push.after for push in several}, several[0].actor)
        await self.store.publish(*(delivery_of(push) for push in several))
