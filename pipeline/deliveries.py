"""What a forge's delivery means where it is no push: the event that it becomes, or why it becomes none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from pipeline.comments import Ignored, parse
from pipeline.events import (
    BranchDeleted,
    CheckAsked,
    CommentPosted,
    Delivery,
    Event,
    PullRequestChanged,
    RepositoryMoved,
)
from pipeline.names import branch, is_zero
from pipeline.records import Outcome

MARKER = "<!-- enclii"
"""What every comment of ours begins with, so that none is taken for somebody else's."""
CHECKS = "enclii/"
"""What the names of our checks and statuses begin with."""


class Meaning(NamedTuple):
    """How the delivery is decided, and what it starts."""

    outcome: Outcome
    reason: str
    message: str
    event: Event | None = None


def meaning(delivery: Delivery) -> Meaning | None:
    """What the delivery of a registered repository means; None for a push, which the planner plans."""
    read = _READERS.get(delivery.kind)
    return read(delivery) if read else None


def gone(delivery: Delivery) -> Event | None:
    """The event of a push that deletes a branch."""
    name = branch(delivery.ref)
    if delivery.kind != "push" or name is None or not delivery.after or not is_zero(delivery.after):
        return None
    return BranchDeleted(**_common(delivery), branch=name)


def _common(delivery: Delivery) -> dict[str, Any]:
    attempt = f"/{delivery.attempt}" if delivery.attempt else ""
    return {
        "id": delivery.id + attempt,
        "at": delivery.at,
        "trace": delivery.trace,
        "forge": delivery.forge,
        "repository": delivery.repository,
    }


def _pull(delivery: Delivery) -> Meaning:
    said = delivery.pull
    if said is None:
        return Meaning("skipped", "nothing_changed", f"{delivery.action or 'this'} changes nothing here")
    event = PullRequestChanged(
        **_common(delivery), number=said.number, action=delivery.action, state=said.state, head=said.head,  # type: ignore[arg-type]
        head_ref=said.branch, head_repository=said.source, base=said.base, fork=said.fork, draft=said.draft,
        merged=said.merged, author=said.author, actor=delivery.actor, updated_at=said.updated_at,
    )  # fmt: skip
    return Meaning("accepted", f"pull_request_{delivery.action}", f"pull request {said.number}", event)


def _comment(delivery: Delivery) -> Meaning:
    said = delivery.comment
    if said is None:
        return Meaning("skipped", "no_pull_request", "the comment is not below a pull request")
    if said.action != "created":
        return Meaning("skipped", f"comment_{said.action}", "only a new comment is a command")
    if said.body.lstrip().startswith(MARKER):
        return Meaning("skipped", "own_comment", "the comment is Enclii's own")
    if isinstance(parse(said.body), Ignored):
        return Meaning("skipped", "no_command", "the comment's first line is no command")
    if said.bot:
        return Meaning("skipped", "comment_by_bot", f"{said.author} is a bot")
    if not said.open:
        return Meaning("skipped", "pull_request_closed", f"pull request {said.number} is closed")
    identity = f"{delivery.repository}/comment/{said.id}"
    event = CommentPosted(
        **_common(delivery) | {"id": identity}, number=said.number, comment=said.id, author=said.author,
        body=said.body, created_at=said.created_at,
    )  # fmt: skip
    return Meaning("accepted", "comment_posted", f"a command: {identity}", event)


def _check(delivery: Delivery) -> Meaning:
    check = delivery.check
    if check is None or check.bot or not check.name.startswith(CHECKS):
        return Meaning("skipped", "nothing_asked", "nobody pressed a button of a check of ours")
    event = CheckAsked(**_common(delivery), check=check, actor=delivery.actor)
    return Meaning("accepted", "check_asked", f"{check.action or 'again'}: {check.name}", event)


def _deleted(delivery: Delivery) -> Meaning:
    name = branch(delivery.ref)
    if name is None:
        return Meaning("skipped", "not_a_branch", f"{delivery.ref or 'what was deleted'} is not a branch")
    event = BranchDeleted(**_common(delivery), branch=name, actor=delivery.actor)
    return Meaning("accepted", "branch_deleted", f"{name} was deleted", event)


def _moved(delivery: Delivery) -> Meaning:
    if delivery.action not in {"renamed", "transferred"}:
        return Meaning("skipped", "nothing_changed", f"{delivery.action or 'this'} changes nothing here")
    event = RepositoryMoved(**_common(delivery), name=delivery.name, actor=delivery.actor)
    return Meaning("accepted", "repository_moved", f"it is {delivery.name} now", event)


_READERS: dict[str, Callable[[Delivery], Meaning]] = {
    "pull_request": _pull,
    "comment": _comment,
    "check_run": _check,
    "delete": _deleted,
    "repository": _moved,
}
