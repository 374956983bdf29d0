"""Promotions of protected environments as pull requests on the config repository, where that is at a forge.

The committer owns the branch and every decision; here the forge is asked to show the branch, and what people do with it
there is told. Each pull request is found again by its branch, so that it is opened once, whoever dies meanwhile.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from gitops.forge import Forge, Opened, Proposal, Where
from gitops.forge.forges import Forges
from gitops.forge.sticky import plain
from pipeline.errors import NotFound, Permanent
from pipeline.events import ConfigMoved, ProposalChanged
from pipeline.names import token
from pipeline.promotions import Promotion
from pipeline.records import ConfigTip
from pipeline.store import Store, now

TITLE: Final = 120


class Proposals:
    """The config repository on its forge; nothing is done where it is on none with a credential."""

    def __init__(self, store: Store, forges: Forges, *, config_url: str, branch: str, console_url: str) -> None:
        self._store, self._forges = store, forges
        self._url, self._branch, self._console = config_url, branch, console_url
        self._where: Where | None = None
        self._tag = ""

    async def place(self) -> tuple[Forge, Where] | None:
        """The forge and the repository there; None without a credential. Raises as the forge does."""
        parts = urlsplit(self._url)
        forge = await self._forges.at(parts.netloc.rpartition("@")[2].lower())
        if forge is None:
            return None
        if self._where is None:
            found = await forge.lookup(Where("", parts.path.strip("/").removesuffix(".git")))
            self._where = Where(found.origin, found.name)
        return forge, self._where

    @property
    def origin(self) -> str:
        """The config repository by its number; "" as long as nobody asked for it."""
        return self._where.origin if self._where else ""

    async def look(self) -> None:
        """Tell the committer of a commit that others brought to the config branch. Raises as the forge does."""
        found = await self.place()
        if found is None:
            return
        forge, where = found
        seen = await forge.heads(where, self._tag)
        tip = dict(seen.heads).get(self._branch, "")
        known = await self._store.get(ConfigTip, "main")
        if tip and (known is None or known.record.commit != tip):
            # Back to a commit that was here before is a move too.
            identity = f"forge/{tip}/{known.seq if known else 0}"
            await self._store.publish(ConfigMoved(id=identity, at=now(), commit=tip))
        self._tag = seen.tag

    async def tend(self, one: Promotion) -> None:
        """Open the pull request, or see how it stands. Raises Retryable."""
        if not one.branch or one.status != "proposed":
            return
        try:
            found = await self.place()
            if found is None:
                return
            forge, where = found
            if not one.pull:
                await self._tell(one, "open", await forge.propose(where, self._proposal(one)))
            else:
                await self._followed(one, forge, where)
        except Permanent as error:
            event = ProposalChanged(
                id=f"{one.id}/unopened/{token(error.message)}", at=now(), promotion=one.id, state="unopened",
                problem=error.message,
            )  # fmt: skip
            await self._store.publish(event)

    async def _followed(self, one: Promotion, forge: Forge, where: Where) -> None:
        opened = Opened(one.pull, one.pull_url)
        try:
            pull = await forge.pull(where, one.pull)
        except NotFound:
            return await self._tell(one, "closed", opened)
        if pull.merged:
            await self._store.publish(ConfigMoved(id=f"{one.id}/merged/{one.pull}", at=now(), commit=""))
        elif pull.state == "closed":
            await self._tell(one, "closed", opened)
        return None

    async def _tell(self, one: Promotion, state: str, opened: Opened) -> None:
        event = ProposalChanged(
            id=f"{one.id}/{state}/{opened.number}", at=now(), trace=one.trace, promotion=one.id,
            state=state, number=opened.number, url=opened.url,  # type: ignore[arg-type]
        )  # fmt: skip
        await self._store.publish(event)

    def _proposal(self, one: Promotion) -> Proposal:
        services = ", ".join(sorted(member.service for member in one.members))
        title = f"Promote {one.project}/{services} from {one.source} to {one.environment}"
        return Proposal(one.branch, self._branch, title[:TITLE], _body(one, self._console))


def _body(one: Promotion, console_url: str) -> str:
    why = f": {plain(one.why)}" if one.why else ""
    rows = [
        f"| {plain(member.service)} | {member.release.rpartition('.')[2]} | `{member.sha[:12]}` | `{member.image}` |"
        for member in one.members
    ]
    lines = [
        f"{plain(one.actor) or 'Somebody'} asked for this{why}.", "",
        "| service | release | commit | image |", "| --- | --- | --- | --- |", *rows, "",
        f"Merging it in any way deploys it, and so does `enclii approve {one.id}`. Closing it ends the promotion.",
        "Enclii writes the branch again when the config branch moves.", "",
        f"[{one.id}]({console_url}/why?about={one.id})",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"
