"""Decisions over what was deployed: where a rollback goes to, and what a commit by another hand means.

Pure functions over deployments and directories; nothing here asks git, the store or the clock.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

from gitops.committing.snapshot import Snapshot
from gitops.layout import HOLD_FILE, ORPHANED_FILE
from pipeline.errors import Refused
from pipeline.records import Deployment, Target

RECENT = 100
"""How many deployments of one place are looked back on; the config repository has all of them."""

Foreign = Literal["rollback", "resume", "held", "edit", "removal", "nothing"]


def release_number(release: str) -> int:
    """41 of ``shop.web.v41``; 0 for a text that is no release id."""
    tail = release.rpartition(".v")[2]
    return int(tail) if tail.isdecimal() else 0


def last_healthy(deployments: Sequence[Deployment], *, before: Target) -> Deployment | None:
    """The newest deployment that was seen running and is of another release than ``before``; newest last.

    What was undone by a rollback is passed over: going back must not go forward to what somebody left. Where the event
    store was lost since, nobody knows what ran, and the newest that git had deployed is taken.
    """
    earlier = [one for one in reversed(_earlier(deployments, before)) if _other(one, before)]
    seen = next((one for one in earlier if one.running_at), None)
    return seen or next((one for one in earlier if one.recovered), None)


def _other(deployment: Deployment, before: Target) -> bool:
    """Whether git had it, with another release than ``before``, and nobody took it back."""
    same = deployment.release == before.release if before.release else deployment.image == before.image
    return bool(deployment.config_commit) and not same and deployment.status not in ("rolled_back", "failed")


def rollback_target(deployments: Sequence[Deployment], *, current: Target, to: int) -> Deployment:
    """Where to go back to: the release numbered ``to``, or with 0 the last healthy one. Raises Refused."""
    if not to:
        found = last_healthy(deployments, before=current)
        if found is None:
            raise Refused("no earlier release was ever healthy here", reason="nothing_to_roll_back_to")
        return found
    if to == release_number(current.release):
        raise Refused(f"v{to} is what is deployed now", reason="already_deployed")
    for deployment in reversed(deployments):
        if deployment.config_commit and release_number(deployment.release) == to:
            return deployment
    text = f"v{to} was never deployed here"
    if len(deployments) >= RECENT:
        text = f"v{to} is not among the last {RECENT} deployments here: git revert what came after it by hand"
    raise Refused(text, reason="nothing_to_roll_back_to")


def undone(deployments: Sequence[Deployment], *, target: Deployment, current: Target) -> tuple[Deployment, ...]:
    """The deployments that going back to ``target`` takes away: those after it up to the current one, newest first."""
    taken: list[Deployment] = []
    for deployment in reversed(_earlier(deployments, current, inclusive=True)):
        if deployment.id == target.id:
            break
        if deployment.config_commit and deployment.release != target.release and deployment.status != "rolled_back":
            taken.append(deployment)
    return tuple(taken)


def _earlier(deployments: Sequence[Deployment], current: Target, *, inclusive: bool = False) -> Sequence[Deployment]:
    for index in range(len(deployments) - 1, -1, -1):
        if deployments[index].id == current.deployment:
            return deployments[: index + inclusive]
    return deployments


def classify(
    before: Target | None, after: Snapshot, *, touched: Collection[str], known_images: Collection[str]
) -> Foreign:
    """What a foreign commit did to one directory, whose files ``touched`` differ.

    ``known_images`` are those that were deployed there before. A rollback is a move to one of them; the way back to
    what was live when the hold began, or to something newer, is a resume, and so is taking the hold's file away.
    """
    known = before is not None and bool(before.deployment)
    if not after.tree:
        return "removal" if known else "nothing"
    if before is None or not known:
        return "edit"
    if before.held and after.hold is None:
        return "resume"
    if set(touched) <= {HOLD_FILE, ORPHANED_FILE}:
        return "held" if HOLD_FILE in touched else "nothing"
    if after.image == before.image:
        return "edit"
    if before.held and _forward(before, after):
        return "resume"
    return "rollback" if after.image in known_images else "edit"


def _forward(before: Target, after: Snapshot) -> bool:
    since = release_number(before.hold_from)
    return bool(since) and release_number(after.release) >= since
