"""What people ask for becomes an event: request bodies are checked field by field and published once.

The console changes nothing itself; whoever owns the state answers with a decision under the command's id.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from console import queries, sight
from console.audit import traceparent
from console.authority import Authority
from console.forges import Forges
from console.projection import Projection
from pipeline import trace
from pipeline.access import Principal
from pipeline.bus import Write
from pipeline.errors import Conflict, Invalid, NotFound, Refused
from pipeline.events import (
    AdoptRequested,
    CancelRequested,
    CheckReported,
    Command,
    DeployRequested,
    DestroyRequested,
    Event,
    FreezeRequested,
    HoldRequested,
    LinkRequested,
    PreviewRequested,
    PromotionRequested,
    PromotionReviewed,
    RestartRequested,
    ResumeRequested,
    RetentionRequested,
    RollbackRequested,
    ScaleRequested,
    SecretChanged,
)
from pipeline.names import BRANCH_PREFIX, SHA, name, sha, token
from pipeline.promotions import Promotion
from pipeline.records import Decision, Parked, Project, Release, Run, Target
from pipeline.servicefile import MAX_REPLICAS
from pipeline.store import Change, Step, Store, now

COMMANDS: Final[dict[str, type[Command]]] = {
    "rollbacks": RollbackRequested,
    "holds": HoldRequested,
    "resumes": ResumeRequested,
    "deploys": DeployRequested,
    "destroys": DestroyRequested,
    "adoptions": AdoptRequested,
    "scales": ScaleRequested,
    "restarts": RestartRequested,
    "promotions": PromotionRequested,
}
OTHERS: Final[dict[str, type[Event]]] = {
    "cancels": CancelRequested,
    "links": LinkRequested,
    "reviews": PromotionReviewed,
    "checks": CheckReported,
    "freezes": FreezeRequested,
    "retentions": RetentionRequested,
}
TYPES: Final[tuple[type[Event], ...]] = (*COMMANDS.values(), SecretChanged, PreviewRequested, *OTHERS.values())
_ONE_SERVICE: Final = (RollbackRequested, ScaleRequested, DestroyRequested, AdoptRequested)
OWN: Final = frozenset({"id", "at", "trace", "actor", "hook", "manifest"})  # never taken from a body
_SOURCE: Final = frozenset({"repository", "ref"})  # where a commit to deploy is planned from: its project says
_RESENT_HEADERS: Final = ("ce-", "traceparent", "enclii-")


def own(kind: type[Event]) -> frozenset[str]:
    """The fields of an event that no body may set."""
    return OWN | _SOURCE if kind is DeployRequested else OWN


def resolved(db: Projection, event: DeployRequested, who: Principal) -> DeployRequested:
    """The wish with the release that the commit already has, else with where its commit is to be planned from.

    Raises Denied when that would also deploy where ``who`` may not.
    """
    if event.release and not event.fresh:
        return event
    if event.fresh:
        return _from_source(db, event, who)
    event = msgspec.structs.replace(event, sha=_whole_sha(db, event))
    found = [
        one
        for one in db.find(Release, project=event.project, newest_first=True)
        if one.sha == event.sha and one.preview is None
    ]
    known = next((one for one in found if event.service in ("", one.service)), None)
    if known is not None:
        return msgspec.structs.replace(event, release=known.id, service=event.service or known.service)
    return _from_source(db, event, who)


def _from_source(db: Projection, event: DeployRequested, who: Principal) -> DeployRequested:
    """The wish with where its commit is planned from; without a commit, that of what is deployed.

    What is planned is deployed to every environment that the branch feeds, so ``who`` must be a deployer of each.
    """
    if event.fresh:
        target = db.get(Target, event.project, event.environment, event.service)
        event = msgspec.structs.replace(event, release="", sha=_whole_sha(db, event) or (target.sha if target else ""))
    project = db.get(Project, event.project)
    branches = {one.name: one.branch for one in project.environments} if project else {}
    if project is None or not project.repositories or not branches.get(event.environment):
        return event
    branch = branches[event.environment]
    fed = [(project.slug, place) for place, feeds in branches.items() if feeds == branch]
    Authority(db).demand(who, "deployer", fed)
    ref = BRANCH_PREFIX + branch
    return msgspec.structs.replace(event, repository=project.repositories[0], ref=ref)


def _whole_sha(db: Projection, event: DeployRequested) -> str:
    """The commit that the beginning of its id names, among those that were pushed to the project."""
    if len(event.sha) < queries.SHORTEST_SHA or set(event.sha) - set("0123456789abcdef"):
        return event.sha
    known = {run.sha for run in db.starting(Run, "sha", event.sha) if run.project == event.project}
    return known.pop() if len(known) == 1 else event.sha


def read_command(kind: type[Event], body: Mapping[str, Any], *, id: str, actor: str) -> Event:  # noqa: A002
    """The event that a request body asks for. Raises Invalid, which names the field."""
    if unknown := body.keys() - (set(kind.__struct_fields__) - own(kind)):
        raise Invalid(f"unknown field {min(unknown)[:60]!r}", reason="unknown_field")
    fields = {**body, "id": id, "at": now(), "actor": actor, "trace": traceparent.get() or trace.new()}
    try:
        return msgspec.convert(fields, type=kind)
    except msgspec.ValidationError as error:
        raise Invalid(str(error), reason="bad_field") from error


def check(db: Projection, event: Event) -> None:
    """Refuse at once what names nothing that exists. Raises Invalid, NotFound."""
    if isinstance(event, Command):
        name(event.environment, what="environment")
        whole_set = isinstance(event, RollbackRequested) and event.set
        if event.service or (isinstance(event, _ONE_SERVICE) and not whole_set):
            name(event.service, what="service")
        # What is adopted is often not released yet, so nobody knows it by its name.
        known = "" if isinstance(event, AdoptRequested) else event.service
        queries.check_scope(db, event.project, event.environment, known)
    if isinstance(event, RollbackRequested) and event.to < 0:
        raise Invalid("to: a release number, or 0 for the last healthy release", reason="bad_field")
    _check_promotion(db, event)
    if isinstance(event, DeployRequested) and event.release and db.get(Release, event.release) is None:
        raise NotFound(f"no release {event.release[:90]!r}", reason="no_such_release")
    if isinstance(event, ScaleRequested) and event.replicas is not None and not 0 <= event.replicas <= MAX_REPLICAS:
        raise Invalid(f"replicas: a whole number from 0 to {MAX_REPLICAS}", reason="bad_field")
    if isinstance(event, DeployRequested) and not event.release:
        _check_commit(event)
    if isinstance(event, CancelRequested) and db.get(Run, event.run) is None:
        raise NotFound(f"no run {event.run[:60]!r}", reason="no_such_run")


def _check_commit(event: DeployRequested) -> None:
    """A beginning of an id was completed already where a push is known that it names, and no other."""
    if not event.sha:
        raise Invalid("which commit or release? Nothing is deployed whose commit could be meant", reason="bad_sha")
    hexadecimal = len(event.sha) >= queries.SHORTEST_SHA and not set(event.sha) - set("0123456789abcdef")
    if not hexadecimal:
        raise Invalid(f"{event.sha[:80]!r} is neither a commit's id nor a release such as v41", reason="bad_sha")
    if not SHA.fullmatch(event.sha):
        text = f"no push to {event.project}, or more than one, has a commit {event.sha[:40]}: give its full id"
        raise Invalid(f"{text} (git rev-parse {event.sha[:40]})", reason="bad_sha")


def _check_promotion(db: Projection, event: Event) -> None:
    if isinstance(event, PromotionRequested):
        if not event.services:
            raise Invalid("services: which ones?", reason="bad_field")
        for service in event.services:
            queries.check_scope(db, event.project, event.source, name(service, what="service"))
    promotion = {PromotionReviewed: "promotion", RollbackRequested: "set"}.get(type(event), "")
    wanted = str(getattr(event, promotion)) if promotion else ""
    if wanted and db.get(Promotion, wanted) is None:
        raise NotFound(f"no promotion {wanted[:60]!r}", reason="no_such_promotion")
    if isinstance(event, CheckReported):
        queries.known_project(db, event.project)
        sha(event.sha)
        name(event.name, what="check")


def link(forges: Forges, event: LinkRequested) -> LinkRequested:
    """The link with a hook where its forge sends webhooks. Raises Invalid, which names the field."""
    name(event.project, what="project")
    name(event.name, what="name")
    for environment in event.branches:
        name(environment, what="environment")
    forges.check(
        forge=event.forge, url=event.url, repository=event.repository,
        branches=event.branches, credential=event.credential,
    )  # fmt: skip
    return msgspec.structs.replace(event, hook=forges.new_hook(event.id) if event.forge != "local" else "")


async def command(store: Store, db: Projection, wanted: str) -> dict[str, Any]:
    """How a command ended, or ``pending``; one for a whole environment has a decision for each service there.

    Raises NotFound, Unavailable.
    """
    decided = await store.get(Decision, wanted)
    if decided is not None and sight.sees(decided.record.project, decided.record.environment):
        return _ended(wanted, [decided.record])
    events = await asyncio.gather(*(store.bus.get(f"ev.{kind.type}.{token(wanted)}") for kind in TYPES))
    found = next((kind, entry) for kind, entry in zip(TYPES, events, strict=True) if entry) if any(events) else None
    if found is None:
        raise NotFound(f"no command {wanted[:80]!r}", reason="no_such_command")
    event = msgspec.json.decode(found[1].data, type=found[0])
    if not sight.sees(getattr(event, "project", ""), getattr(event, "environment", "")):
        raise NotFound(f"no command {wanted[:80]!r}", reason="no_such_command")
    return _ended(wanted, await _for_each_service(store, db, event))


async def _for_each_service(store: Store, db: Projection, event: Event) -> list[Decision]:
    if not isinstance(event, Command) or isinstance(event, DeployRequested) or event.service:
        return []
    targets = db.find(Target, project=event.project, environment=event.environment)
    reads = (store.get(Decision, f"{event.id}/{target.service}") for target in targets if target.deployment)
    found = await asyncio.gather(*reads)
    return [one.record for one in found if one] if all(found) else []


def _ended(wanted: str, decisions: list[Decision]) -> dict[str, Any]:
    shown = [queries.plain(decision) for decision in decisions]
    status = "decided" if shown else "pending"
    return {"id": wanted, "status": status, "decision": shown[0] if shown else None, "decisions": shown}


async def settle_parked(store: Store, wanted: str, *, retry: bool) -> None:
    """Send a parked event through again, or drop it. Raises NotFound, Unavailable.

    The event goes first and the mark second: dying in between repeats the event, which is harmless.
    """
    found = await store.get(Parked, wanted)
    state: Literal["retried", "dropped"] = "retried" if retry else "dropped"
    if found is None:
        raise NotFound(f"nothing is parked as {wanted[:60]!r}", reason="no_such_parked")
    if found.record.state == state:  # an answer got lost
        return
    if found.record.state != "parked":
        raise Refused(f"{wanted[:60]} was {found.record.state} already", reason="settled_otherwise")
    if retry:
        await _send_again(store, found.record.subject_parked)
    closed = msgspec.structs.replace(found.record, state=state)
    with contextlib.suppress(Conflict):  # it was parked again meanwhile: that is the newer truth
        await store.commit(Step((Change(closed, found.seq),)))


async def _send_again(store: Store, subject: str) -> None:
    entry = await store.bus.get(subject)
    if entry is None:
        raise NotFound("the parked event is no longer stored; it can only be dropped", reason="event_gone")
    headers = {key: value for key, value in entry.headers.items() if key.lower().startswith(_RESENT_HEADERS)}
    with contextlib.suppress(Conflict):  # somebody else sends it again at this moment
        await store.bus.commit(Write(subject, entry.data, entry.seq, headers))
