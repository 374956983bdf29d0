"""The branch that proposes a promotion: what people are told to do with it, and the pull request that shows it."""

from __future__ import annotations

from msgspec.structs import replace

from gitops.committing import freezing
from gitops.committing.edits import Commit
from gitops.committing.session import Session, Unit
from gitops.git.configrepo import ConfigRepo
from pipeline.errors import Permanent, Refused
from pipeline.events import ProposalChanged
from pipeline.promotions import OPEN, Promotion, PromotionStatus
from pipeline.records import Outcome
from pipeline.store import now

_ABOUT = "; proposed "


async def changed(session: Session, event: ProposalChanged) -> Unit:
    """Keep the address of the pull request, or end the promotion with it."""
    one = await session.get(Promotion, event.promotion)
    if one is None or one.status not in OPEN or not one.branch:
        return Unit()
    if event.state == "closed":
        if one.pull != event.number:
            return Unit()
        why = f"{event.url or f'pull request {event.number}'} was closed without a merge"
        return ended(session, one, "refused", Refused(why, reason="pull_request_closed"))
    if event.state == "open":
        one = replace(one, pull=event.number, pull_url=event.url, pull_problem="")
    elif not one.pull:
        one = replace(one, pull_problem=event.problem)
    one = said(one)
    return Unit([session.put(one), session.put(freezing.decision(one, "waiting"))])


def said(one: Promotion) -> Promotion:
    """With a message that ends in where it is proposed, if it is, and what to do there."""
    waits = one.message.partition(_ABOUT)[0]
    if not one.branch:
        return replace(one, message=waits)
    if one.pull_url:
        return replace(one, message=f"{waits}{_ABOUT}in {one.pull_url}")
    problem = f" (no pull request: {one.pull_problem})" if one.pull_problem else ""
    way = f"as the branch {one.branch} of the config repository: merge it, or enclii approve {one.id}"
    return replace(one, message=f"{waits}{_ABOUT}{way}{problem}")


def stands(repo: ConfigRepo, one: Promotion, again: Commit, *, on: str) -> bool:
    """Whether the branch says just that already: a commit that differs in its time alone would cost its reviews."""
    if not repo.has(one.config_commit):
        return False
    before = repo.commit(one.config_commit)
    same = (before.parents, dict(before.trailers)) == ((on,), dict(again.trailers))
    return same and repo.same(before.id, again.id)


def ended(session: Session, one: Promotion, status: PromotionStatus, error: Permanent) -> Unit:
    """Nothing comes of it any more: its branch goes, and a pull request with it."""
    done = replace(one, status=status, reason=error.reason, message=error.message, wake_at="", finished_at=now())
    if one.branch:
        session.propose(one.branch, "")
    outcome: Outcome = "skipped" if status == "superseded" else "refused"
    return Unit([session.put(done), session.put(freezing.decision(done, outcome))])
