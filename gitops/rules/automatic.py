"""Whether an observed failure takes its release back: a pure decision, for environments that ask for it.

Only a settled failure counts: nothing newer is committed and nothing is still coming up. A rollback is never rolled
back, a hold is left alone, an old failure is not acted upon, and a release that ran well for long is not blamed.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Literal

from pipeline.promotions import AutomaticRollback
from pipeline.records import Deployment, Target

SETTLE = datetime.timedelta(seconds=30)
"""How long what ran before must stay degraded: a container that is started again in time is no failed release."""


@dataclass(frozen=True)
class Answer:
    """``go``: roll back. ``wait``: ask again after ``delay`` seconds. ``skip``: leave it, with the reason for people.

    ``nothing`` is a skip that needs no word: the environment did not ask, or the release is well again.
    """

    kind: Literal["go", "wait", "skip", "nothing"]
    reason: str = ""
    message: str = ""
    delay: float = 0.0


NOTHING = Answer("nothing")
NOT_ITS_FAULT = frozenset(
    {
        "rendered_elsewhere",
        "not_rendered",
        "rendered_twice",
        "no_unit",
        "several_units",
        "unknown_cluster",
        "reserved_namespace",
    }
)
"""Reasons that speak of where a service is to run, and not of the release."""


def answer(
    rule: AutomaticRollback | None,
    deployment: Deployment,
    target: Target,
    *,
    seen_at: datetime.datetime,
    now: datetime.datetime,
    settle: datetime.timedelta = SETTLE,
) -> Answer:
    """What to do about ``deployment``, which was seen to fail at ``seen_at``."""
    if rule is None or target.deployment != deployment.id or deployment.status not in ("degraded", "failed"):
        return NOTHING
    ran = deployment.status == "degraded"
    if ran and not deployment.running_at:
        return NOTHING  # it is still coming up: either it gets well, or it is seen to fail
    within = datetime.timedelta(seconds=rule.within)
    if deployment.via == "rollback" or deployment.reverts:
        return Answer("skip", "is_a_rollback", "what failed is itself a rollback; that is never rolled back")
    if deployment.reason in NOT_ITS_FAULT:
        return Answer(
            "skip", deployment.reason, "the release was not tried: going back would change nothing about that"
        )
    if target.held:
        return Answer("skip", "held", "the service is held; a person decides")
    if now - seen_at > within:
        return Answer("skip", "too_old", f"the failure is older than {rule.within:g} s")
    if ran and seen_at - _time(deployment.running_at) > within:
        return Answer("skip", "ran_well", f"the release ran well for more than {rule.within:g} s before")
    if ran and now < seen_at + settle:
        return Answer("wait", "settling", "it may get well by itself", (seen_at + settle - now).total_seconds())
    return Answer("go")


def _time(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)
