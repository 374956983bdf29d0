"""Plan: from a delivery, a hint that something was pushed, to one job per service that the push touches.

The head is asked of the registered repository itself. The branch's record is moved by compare-and-set in the same
step that creates the run, so a head starts one run however often and in whatever order its deliveries come.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec.structs import replace

from pipeline import deliveries, jobs, names, tracing
from pipeline.errors import EncliiError, Permanent, Retryable
from pipeline.events import (
    BuildRequested,
    Delivery,
    DeployRequested,
    Event,
    ImageBuilt,
    PreviewRequested,
    ServicesDeclared,
)
from pipeline.log import learned
from pipeline.origin import registered, remembered
from pipeline.previews import GONE, Preview, key_of, repository_of
from pipeline.records import Branch, Decision, Image, Job, Project, Repository, Run, Target
from pipeline.registry import Registry
from pipeline.servicefile import ServiceSpec
from pipeline.services import Inputs, inputs_of, services_of, touches
from pipeline.sources import archive
from pipeline.store import Change, Step, Store, Stored, now

if TYPE_CHECKING:
    from pipeline.mirror import Mirror

CHOSEN = frozenset({"deploy", "rebuild"})
"""Kinds of delivery that name their commit, which need not be the branch's head."""

REGISTERING = 5.0
"""Seconds in which the committer mostly has registered what is pushed for the first time."""

_RESUME = re.compile(r"^Enclii-Resume:[ \t]*([a-z][a-z0-9-]{0,39})[ \t]*$", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True)
class Push:
    """One push as it is planned: what was said, and what the repository itself says."""

    delivery: Delivery
    repository: Repository
    mirror: Mirror
    head: str
    branch: Stored[Branch] | None
    environments: tuple[str, ...]
    trust: str = "main"
    """The class of its builds: that of a preview is called like its environment."""
    salt: str = ""
    """Keeps the images of a preview apart from those of an earlier one of the same name, which are gone."""

    services: tuple[str, ...] | None = None
    """Sorted names of all that the head has; None while that is not read, or cannot be."""

    @property
    def run(self) -> str:
        return names.run_id(self.delivery.id, self.delivery.attempt)


class Planned(NamedTuple):
    """A job, what starts it, and the image that it takes again, written once more: who sheds images at this moment
    and who takes one cannot both win.
    """

    job: Job
    event: Event | None = None
    taken: Change | None = None


@dataclass(frozen=True)
class Planner:
    """The stage with its ports."""

    store: Store
    registry: Registry
    mirror: Callable[[Repository], Awaitable[Mirror]]
    context_limit: int = 512 << 20

    async def handle(self, event: Event) -> Step:
        """Plan one delivery; an empty step when it was decided already."""
        delivery = _as_delivery(event)
        if delivery is None or await self._decided(delivery):
            return Step()
        repository = await registered(self.store, delivery) or await self._being_registered(delivery)
        if repository is None:
            return self._unregistered(delivery)
        if isinstance(event, DeployRequested) and repository.project != event.project:
            text = f"{repository.id} is not a repository of {event.project}"
            return self._decision(delivery, "refused", "other_project", text, project=event.project)
        origin = await remembered(self.store, delivery, repository)
        known = replace(delivery, repository=repository.id)
        step = await self._known(known, repository, delivery.repository)
        return Step((*step.changes, *origin), (*step.events, *await self._previewed(known, repository)))

    async def _previewed(self, delivery: Delivery, repository: Repository) -> tuple[Event, ...]:
        """That a branch with a preview of its own has moved, or is gone."""
        branch = names.branch(delivery.ref)
        if branch is None or delivery.kind not in ("push", "sweep") or delivery.attempt:
            return ()
        found = await self.store.get(Preview, *key_of(repository.id, 0, branch))
        if found is None or found.record.state in GONE:
            return ()
        gone = bool(delivery.after) and names.is_zero(delivery.after)
        asked = PreviewRequested(
            id=f"{delivery.id}/preview", at=now(), trace=delivery.trace, verb="down" if gone else "push",
            project=repository.project, repository=repository.id, branch=branch, actor=delivery.actor,
            sha="" if gone else delivery.after, why="the branch was deleted" if gone else "",
        )  # fmt: skip
        return (asked,)

    async def _being_registered(self, delivery: Delivery) -> Repository | None:
        """The repository of a first push to our own git host, which asked the committer to register it."""
        if delivery.forge != "local" or _ignored(delivery):
            return None
        wanted = delivery.repository
        return await self.store.first(Repository, wanted, such=lambda one: bool(one.project), limit=REGISTERING)

    async def _known(self, delivery: Delivery, repository: Repository, origin: str) -> Step:
        said = replace(delivery, repository=origin)
        if (meant := deliveries.meaning(said)) is not None:
            step = self._decision(delivery, *meant[:3], project=repository.project)
            return Step(step.changes, (meant.event,) if meant.event else ())
        if reason := _ignored(delivery):
            step = self._decision(delivery, "skipped", *reason, project=repository.project)
            gone = deliveries.gone(said)
            return Step(step.changes, (gone,) if gone else ())
        return await self._pushed(delivery, repository)

    async def failed(self, event: Event, error: Exception) -> Step:
        """The decision of a delivery that could not be planned."""
        delivery = _as_delivery(event)
        if delivery is None or await self._decided(delivery):
            return Step()
        reason, message = (error.reason, error.message) if isinstance(error, EncliiError) else ("unexpected", "")
        return self._decision(delivery, "refused" if isinstance(error, Permanent) else "failed", reason, message)

    async def _decided(self, delivery: Delivery) -> bool:
        found = await self.store.get(Decision, delivery.id)
        return found is not None and found.record.attempt >= delivery.attempt

    def _unregistered(self, delivery: Delivery) -> Step:
        if reason := _ignored(delivery):
            return self._decision(delivery, "skipped", *reason)
        if delivery.forge == "local":
            raise Retryable("the repository is being registered", reason="repository_unknown", delay=1.0)
        return self._decision(delivery, "refused", "repository_unknown", "no project has this repository: enclii link")

    async def _pushed(self, delivery: Delivery, repository: Repository) -> Step:
        mirror = await self.mirror(repository)
        head = delivery.after if delivery.kind in CHOSEN else await self._head(delivery, mirror)
        if head is None:
            return self._decision(
                delivery, "skipped", "branch_gone", f"{repository.name} has no {delivery.ref} any more"
            )
        environments = await self._environments(repository.project, delivery.ref)
        if not environments:
            text = f"no environment of {repository.project} is fed by {names.branch(delivery.ref)}"
            return self._decision(delivery, "skipped", "no_environment", text)
        branch = await self.store.get(Branch, repository.id, delivery.ref)
        if branch and branch.record.head == head and delivery.attempt == 0 and delivery.kind not in CHOSEN:
            await self._link(branch.record.run)
            text = f"{head[:12]} was planned before"
            return self._decision(delivery, "duplicate", "head_already_planned", text, sha=head, run=branch.record.run)
        if branch:
            await self._link(branch.record.run)
        await mirror.fetch_commit(head)
        return await self._plan(Push(delivery, repository, mirror, head, branch, environments))

    async def _link(self, run: str) -> None:
        """Pushes that collapse are told apart by their traces and found by the link between them."""
        if tracing.active() and (found := await self.store.get(Run, run)):
            tracing.link(found.record.trace)

    async def _head(self, delivery: Delivery, mirror: Mirror) -> str | None:
        """The branch's head. From our own git host it comes with its commit: one conversation instead of two, and
        what is pushed there is mostly planned."""
        return await (mirror.fetch_head if delivery.forge == "local" else mirror.head)(delivery.ref)

    async def _environments(self, project: str, ref: str) -> tuple[str, ...]:
        found = await self.store.first(Project, project, such=lambda _: True, limit=REGISTERING)
        if found is None:
            raise Retryable(f"project {project} is being registered", reason="project_unknown", delay=1.0)
        return tuple(one.name for one in found.environments if one.branch == names.branch(ref))

    async def _plan(self, push: Push) -> Step:
        try:
            found = await asyncio.to_thread(services_of, push.mirror, push.head, push.repository.name)
            specs = await self._touched(push, found.services)
        except Permanent as error:
            return self._run(push, "failed", (), ("refused", error.reason, error.message))
        push = dataclasses.replace(push, services=tuple(sorted(spec.name for spec in found.services)))
        if not specs:
            text = f"no service's path has changed{_vanished(push)}"
            return self._run(push, "skipped", (), ("skipped", "nothing_touched", text))
        planned = [await self.job(push, spec) for spec in specs]
        text = f"{len(specs)} {'service' if len(specs) == 1 else 'services'} to build{_vanished(push)}"
        return self._run(push, "running", planned, ("accepted", "planned", text))

    async def _touched(self, push: Push, services: Sequence[ServiceSpec]) -> list[ServiceSpec]:
        asked = [spec for spec in services if push.delivery.service in ("", spec.name)]
        return [spec for spec in asked if await self._is_touched(push, spec)]

    async def _is_touched(self, push: Push, spec: ServiceSpec) -> bool:
        """Compared with what is deployed, not with the last push: a push that failed or was replaced still counts."""
        if push.delivery.kind in CHOSEN or push.delivery.attempt:
            return True
        for environment in push.environments:
            target = await self.store.get(Target, push.repository.project, environment, spec.name)
            if target is None or not target.record.sha:
                return True
            if await asyncio.to_thread(touches, push.mirror, target.record.sha, push.head, spec):
                return True
        return False

    async def job(self, push: Push, spec: ServiceSpec) -> Planned:
        """One service's job, with what starts it: a build, or an image that is known."""
        job = Job(
            run=push.run, project=push.repository.project, service=spec.name, created_at=now(),
            spec=msgspec.json.encode(spec).decode(),
        )  # fmt: skip
        try:
            inputs = await asyncio.to_thread(inputs_of, push.mirror, push.head, spec)
            bases = await self._bases(inputs.images)
            place = (push.repository.id, job.project, spec.name, *((push.trust, push.salt) if push.salt else ()))
            resolved = len(bases) == len(inputs.images)
            key = inputs.key(bases, scope="/".join(place), salt="" if resolved else push.run)
            job = msgspec.structs.replace(job, tree=inputs.tree, build_key=key)
            known = await self.store.get(Image, key)
            if known is not None and known.record.provenance and push.delivery.kind != "rebuild":
                return self._reused(push, job, known)
            source = await asyncio.to_thread(archive, push.mirror, push.head, spec.path, limit=self.context_limit)
        except Permanent as error:
            status = msgspec.structs.replace(job, status="failed", reason=error.reason, message=error.message)
            return Planned(msgspec.structs.replace(status, finished_at=now()))
        return Planned(job, await self._request(push, job, inputs, bases, source))

    async def _request(
        self, push: Push, job: Job, inputs: Inputs, bases: dict[str, str], source: bytes
    ) -> BuildRequested:
        digest = await self.registry.put_blob(repository_of(job.project, job.service, push.trust), source)
        return BuildRequested(
            id=f"{job.run}/{job.service}", at=now(), trace=push.delivery.trace, run=job.run, project=job.project,
            service=job.service, repository=push.repository.id, source_url=push.repository.url,
            ref=push.delivery.ref, sha=push.head, tree=inputs.tree, build_key=job.build_key,
            spec=msgspec.Raw(job.spec.encode()), commit_time=push.mirror.commit_time(push.head), bases=bases,
            source=digest, dockerfile=inputs.dockerfile, no_cache=push.delivery.no_cache,
            builds=inputs.plan.kind, detected=inputs.plan.why, trust=push.trust,
        )  # fmt: skip

    def _reused(self, push: Push, job: Job, known: Stored[Image]) -> Planned:
        image = known.record
        job = msgspec.structs.replace(job, status="signing", reused=True, image=image.image)
        built = ImageBuilt(
            id=f"{job.run}/{job.service}", at=now(), trace=push.delivery.trace, run=job.run, project=job.project,
            service=job.service, image=image.image, sbom=image.sbom, build_key=job.build_key, reused=True,
        )  # fmt: skip
        return Planned(job, built, Change(image, known.seq))

    async def _bases(self, images: tuple[str, ...]) -> dict[str, str]:
        """The digests of the base images that the configured registry has; the others are resolved by the build."""
        found: dict[str, str] = {}
        for image in images:
            host, _, rest = image.partition("/")
            repository, _, tag = rest.partition(":")
            if host == self.registry.host and "@" not in image:
                manifest = await self.registry.manifest(repository, tag or "latest")
                found |= {image: manifest.digest} if manifest else {}
            elif "@" in image:
                found[image] = image.rpartition("@")[2]
        return found

    def _run(self, push: Push, status: str, planned: Sequence[Planned], why: tuple[str, str, str]) -> Step:
        delivery, repository = push.delivery, push.repository
        learned(run=push.run, commit=push.head[:12])
        made = [one.job for one in planned]
        outcome, reason, message = why
        run = Run(
            id=push.run, project=repository.project, repository=repository.id, ref=delivery.ref, sha=push.head,
            actor=delivery.actor, subject_line=push.mirror.subject(push.head)[:200],
            resumes=tuple(dict.fromkeys(_RESUME.findall(push.mirror.message(push.head)))), delivery=delivery.id,
            created_at=now(), services=tuple(job.service for job in made), status=status,  # type: ignore[arg-type]
            reason="" if outcome == "accepted" else reason, message="" if outcome == "accepted" else message,
            trace=delivery.trace,
        )  # fmt: skip
        before = push.branch.record.services if push.branch else None
        known = before if push.services is None or delivery.kind in CHOSEN else push.services
        branch = Branch(
            repository=repository.id, ref=delivery.ref, head=push.head, run=run.id, at=now(), services=known
        )
        decision = self._decision(delivery, outcome, reason, message, sha=push.head, run=run.id, project=run.project)
        ends = tuple(Change(jobs.decision(job, run), None) for job in made if job.status == "failed")
        moved = (Change(branch, push.branch.seq if push.branch else 0), Change(run, 0))
        taken = tuple(one.taken for one in planned if one.taken is not None)
        declared = (_declared(push, known),) if known is not None and known != before else ()
        events = (*declared, *(one.event for one in planned if one.event is not None))
        return Step((*moved, *(Change(job, 0) for job in made), *taken, *decision.changes, *ends), events)

    def _decision(self, delivery: Delivery, outcome: str, reason: str, message: str, **more: str) -> Step:
        sha = more.pop("sha", "") or delivery.after
        decision = Decision(
            id=delivery.id, about="delivery", outcome=outcome, reason=reason, message=message,  # type: ignore[arg-type]
            repository=delivery.repository, ref=delivery.ref, sha=sha, actor=delivery.actor, attempt=delivery.attempt,
            at=now(), **more,
        )  # fmt: skip
        return Step((Change(decision, None),))


def _declared(push: Push, services: tuple[str, ...]) -> ServicesDeclared:
    """That the branch has other services now, or that nobody knew which."""
    return ServicesDeclared(
        id=f"{push.run}/services", at=now(), trace=push.delivery.trace, project=push.repository.project,
        repository=push.repository.id, ref=push.delivery.ref, sha=push.head, services=services,
        actor=push.delivery.actor,
    )  # fmt: skip


def _vanished(push: Push) -> str:
    before = push.branch.record.services if push.branch else None
    gone = sorted({*(before or ())} - {*(push.services or ())}) if push.delivery.kind not in CHOSEN else []
    return f"; no longer in enclii.yaml, and orphaned where deployed: {', '.join(gone)}" if gone else ""


def _as_delivery(event: Event) -> Delivery | None:
    """Deliveries as they are; a wish to deploy a commit that has no release yet, as a delivery of its own kind."""
    if isinstance(event, Delivery):
        return event
    assert isinstance(event, DeployRequested)
    if event.release or not event.repository:
        return None
    return Delivery(
        id=event.id, at=event.at, forge=event.repository.split(":", 1)[0], kind="rebuild" if event.fresh else "deploy",
        repository=event.repository, ref=event.ref, after=event.sha, actor=event.actor,
        service=event.service if event.fresh else "", no_cache=event.no_cache, trace=event.trace,
    )  # fmt: skip


def _ignored(delivery: Delivery) -> tuple[str, str] | None:
    """Why nothing is to be done for a delivery, whatever the repository says."""
    if delivery.kind == "ping":
        return "ping", "the webhook reaches Enclii"
    if delivery.kind not in {"push", "sweep", *CHOSEN}:
        return f"ignored_{delivery.kind}", f"{delivery.kind} deliveries start nothing"
    if names.branch(delivery.ref) is None:
        return "not_a_branch", f"{delivery.ref} is not a branch"
    if delivery.after and names.is_zero(delivery.after):
        return "branch_deleted", f"{names.branch(delivery.ref)} was deleted"
    return None
