"""Whether a promotion may go on: a pure decision over the environment's rules and what is known now.

What can't become true refuses. What may still become true lets it wait, with the moment at which to look again where
there is one; all else that it waits for is an event.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from gitops.rules.freeze import Frozen, stamp
from pipeline.errors import Refused
from pipeline.names import token
from pipeline.promotions import Approval, CheckState, Member, Promotion, PromotionRule
from pipeline.records import Environment

BRANCHES = "enclii/promote-"
UNSEEN = datetime.timedelta(seconds=60)
"""An observer that has said nothing for so long is taken for dead."""
LOOK_AGAIN = datetime.timedelta(seconds=10)


@dataclass(frozen=True)
class Source:
    """One member in the environment that it is promoted from.

    ``there``: git says this release there. ``failed``: it came to nothing there. ``healthy_since``: without a break,
    neither in its health nor in anybody's looking at it. ``seen_at``: when somebody last looked, by the same clock.
    """

    there: bool
    failed: bool = False
    healthy_since: datetime.datetime | None = None
    seen_at: datetime.datetime | None = None


@dataclass(frozen=True)
class Facts:
    """All that the decision looks at, as of ``at``."""

    at: datetime.datetime
    sources: Mapping[str, Source]
    checks: Mapping[tuple[str, str], CheckState]  # (sha, name) → what was last reported
    frozen: Frozen | None = None
    roles: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Wait:
    """One thing that is missing; ``until`` where time brings it."""

    reason: str
    message: str
    until: datetime.datetime | None = None


@dataclass(frozen=True)
class Standing:
    """What is missing still, nothing when it may go on; the members with what they have reached."""

    waits: tuple[Wait, ...]
    members: tuple[Member, ...]

    @property
    def reason(self) -> str:
        return self.waits[0].reason if self.waits else ""

    @property
    def message(self) -> str:
        return "; ".join(wait.message for wait in self.waits)

    @property
    def wake_at(self) -> str:
        """When the last of what only time brings is there; "" when there is no such thing."""
        times = [wait.until for wait in self.waits if wait.until is not None]
        return stamp(max(times)) if times else ""

    @property
    def proposable(self) -> bool:
        """True when nothing is missing but people's word and the end of a freeze."""
        return all(wait.reason in ("needs_approval", "frozen") for wait in self.waits)


def promotion_id(command: str) -> str:
    """The id of the promotion, and of its set, that a command or a pushed release asks for."""
    return "p-" + token("promotion", command)[:12]


def branch_name(project: str, environment: str, services: Iterable[str]) -> str:
    """The branch that proposes it: the same for the same services, so that a newer one takes its place."""
    return BRANCHES + token(project, environment, *sorted(services))[:12]


def by_proposal(environment: Environment) -> bool:
    """True when a promotion into the environment is a branch to be merged and no direct commit."""
    way = environment.promotion.by if environment.promotion else ""
    return way == "pull-request" or (not way and environment.protected)


def standing(promotion: Promotion, environment: Environment, facts: Facts) -> Standing:
    """What the promotion waits for. Raises Refused for what can't become true any more."""
    rule = environment.promotion or PromotionRule()
    if promotion.source and rule.source and promotion.source != rule.source:
        raise Refused(f"{environment.name} is entered from {rule.source} alone", reason="wrong_source")
    waits: list[Wait] = []
    members = promotion.members
    if promotion.source:
        soaked = [_soaked(member, promotion.source, rule.soak, facts) for member in members]
        members = tuple(member for member, _ in soaked)
        waits += [wait for _, wait in soaked if wait is not None]
        waits += _checks(members, rule.checks, facts)
        if wait := _approvals(promotion, environment, rule, facts):
            waits.append(wait)
    if facts.frozen is not None and not promotion.override:
        waits.append(Wait("frozen", f"{environment.name} is {facts.frozen}", facts.frozen.until))
    return Standing(tuple(waits), members)


def approved(promotion: Promotion, rule: PromotionRule | None, roles: Mapping[str, Sequence[str]], *, by: str) -> None:
    """Return if ``by`` may approve. Raises Refused."""
    rule = rule or PromotionRule()
    if promotion.pushed:
        raise Refused("a push that waits for the end of a freeze needs no approval", reason="nothing_to_approve")
    if rule.approvals and by == promotion.actor:
        raise Refused(f"{by} asked for it; somebody else must approve", reason="own_promotion")
    if not may_approve(rule, roles, by):
        raise Refused(f"{by} is none of {', '.join(rule.approvers)}", reason="not_an_approver")


def may_approve(rule: PromotionRule, roles: Mapping[str, Sequence[str]], by: str) -> bool:
    """Whether the rule counts this person: by name, by role, or anybody."""
    return not rule.approvers or any(by == one or by in roles.get(one, ()) for one in rule.approvers)


def superseded(older: Promotion, newer: Promotion) -> bool:
    """Whether ``newer`` takes the place of ``older``: the same environment, and a service that both bring."""
    same = (older.project, older.environment) == (newer.project, newer.environment)
    shared = {one.service for one in older.members} & {one.service for one in newer.members}
    return older.id != newer.id and same and bool(shared)


def _soaked(member: Member, source: str, soak: float, facts: Facts) -> tuple[Member, Wait | None]:
    """The member once it was healthy for long enough; having been so it may be replaced there, but not be broken."""
    found = facts.sources.get(member.service, Source(there=False))
    version = f"{member.service} {member.release.rpartition('.')[2]}"
    if not found.there:
        if member.soaked_at:
            return member, None
        raise Refused(f"{version} was replaced in {source} before its time was over", reason="left_source")
    if found.failed:
        raise Refused(f"{version} failed in {source}", reason="unhealthy_in_source")
    if found.healthy_since is None:
        return member, Wait("not_healthy", f"{version} is not healthy in {source}")
    if found.seen_at is None or facts.at - found.seen_at > UNSEEN:
        since = f" since {stamp(found.seen_at)}" if found.seen_at else ""
        why = f"nobody has observed {version} in {source}{since}: is the syncer running?"
        return member, Wait("not_observed", why, facts.at + LOOK_AGAIN)
    ripe = found.healthy_since + datetime.timedelta(seconds=soak)
    if soak and not member.soaked_at and found.seen_at < ripe:  # without a soak being healthy now is enough
        until = ripe if ripe > facts.at else facts.at + LOOK_AGAIN  # nobody has looked since its time was over
        return member, Wait("soaking", f"{version} soaks in {source} until {stamp(ripe)}", until)
    return replace(member, soaked_at=member.soaked_at or stamp(facts.at)), None


def _checks(members: Iterable[Member], names: Sequence[str], facts: Facts) -> list[Wait]:
    waits: list[Wait] = []
    for member in members:
        for name in names:
            state = facts.checks.get((member.sha, name))
            if state == "failure":
                raise Refused(f"the check {name} failed on {member.sha[:12]}", reason="check_failed")
            if state != "success":
                said = "has not ended" if state else "was not reported"
                waits.append(Wait("check_missing", f"the check {name} {said} on {member.sha[:12]}"))
    return list(dict.fromkeys(waits))


def _approvals(promotion: Promotion, environment: Environment, rule: PromotionRule, facts: Facts) -> Wait | None:
    needed = max(rule.approvals, 1 if by_proposal(environment) else 0)
    count = {one.by for one in promotion.approvals if _counts(promotion, rule, facts.roles, one)}
    if len(count) >= needed:
        return None
    missing = needed - len(count)
    people = f" of {', '.join(rule.approvers)}" if rule.approvers else ""
    plural = "s" if missing > 1 else ""
    return Wait("needs_approval", f"{missing} approval{plural}{people} missing: enclii approve {promotion.id}")


def _counts(promotion: Promotion, rule: PromotionRule, roles: Mapping[str, Sequence[str]], one: Approval) -> bool:
    return may_approve(rule, roles, one.by) and not (rule.approvals and one.by == promotion.actor)
