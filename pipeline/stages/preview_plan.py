"""From the head of a pull request or branch to the run that builds its preview: services, jobs, requests.

A fork's ``enclii.yaml`` is not asked: what is built and how comes from the base branch, the sources from the fork.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from pipeline import jobs
from pipeline.errors import NotFound, Refused
from pipeline.events import Delivery, Event
from pipeline.names import BRANCH_PREFIX
from pipeline.previews import SCOPE, BaseServices, Preview, PreviewService
from pipeline.records import Project, Release, Repository, Run, Target
from pipeline.servicefile import ServiceSpec
from pipeline.services import services_of
from pipeline.stages.plan import Planned, Planner, Push
from pipeline.store import Change, now


@dataclass(frozen=True)
class Plan:
    """What starts the builds of one head: the run, its jobs as they are to be stored, and the first events."""

    run: Run
    services: tuple[PreviewService, ...]
    changes: tuple[Change, ...]
    events: tuple[Event, ...]
    omitted: tuple[str, ...] = ()
    """Secrets that its services ask for and do not get, by name."""


@dataclass(frozen=True)
class PreviewPlanner:
    """The planner's own steps, for a preview."""

    planner: Planner

    async def head(self, repository: Repository, branch: str) -> str:
        """The branch's head, asked of the repository itself. Raises NotFound, Unavailable."""
        found = await (await self.planner.mirror(repository)).head(BRANCH_PREFIX + branch)
        if found is None:
            raise NotFound(f"{repository.name} has no branch {branch}", reason="branch_gone")
        return found

    async def plan(self, preview: Preview, repository: Repository, *, base: str, asked: Event) -> Plan:
        """Raises Refused for a service that is not there or not to be previewed, Invalid for a wrong enclii.yaml."""
        assert preview.ref is not None
        mirror = await self.planner.mirror(repository)
        await mirror.fetch_commit(preview.sha)
        config = preview.sha
        if preview.fork:
            config = await mirror.fetch_commit(BRANCH_PREFIX + base)
        specs = _chosen(
            (await asyncio.to_thread(services_of, mirror, config, repository.name)).services, preview.chosen
        )
        push = Push(
            _delivery(preview, asked), repository, mirror, preview.sha, None, (), trust=preview.environment,
            salt=preview.created_at,
        )  # fmt: skip
        planned = [await self.planner.job(push, spec) for spec in specs]
        omitted = [name for spec in specs for name in await self._omitted(preview, spec)]
        found = _planned(preview, push, planned, specs)
        copies = await self._copies(preview, {spec.name for spec in specs})
        return replace(found, services=(*found.services, *copies), omitted=tuple(sorted(set(omitted))))

    async def _copies(self, preview: Preview, built: set[str]) -> list[PreviewService]:
        """What it gets of the base environment: what is deployed there and not built here, and a fork nothing."""
        assert preview.ref is not None
        get, found = self.planner.store.get, []
        project = await get(Project, preview.project)
        base = project.record.previews.base if project and not preview.fork else BaseServices()
        for name in base.copied:
            target = await get(Target, preview.project, base.environment, name)
            release = await get(Release, target.record.release) if target and target.record.release else None
            if release is None or name in built:
                continue
            port = msgspec.json.decode(release.record.spec, type=ServiceSpec).port
            host = preview.ref.host(name) if port is not None else ""
            before = next((one for one in preview.services if one.name == name and one.copied), None)
            found.append(msgspec.structs.replace(before or PreviewService(name=name, copied=True), host=host))
        return found

    async def _omitted(self, preview: Preview, spec: ServiceSpec) -> list[str]:
        """What was not set for previews; of a fork everything."""
        spec = spec.for_environment(SCOPE)
        target = await self.planner.store.get(Target, preview.project, SCOPE, spec.name)
        known = target.record.secrets if target and not preview.fork else {}
        return [name for name in spec.secrets if name not in known] + [*spec.external_secrets, *spec.existing_secrets]


def _chosen(specs: Sequence[ServiceSpec], chosen: Sequence[str]) -> list[ServiceSpec]:
    known = {spec.name for spec in specs}
    if set(chosen) - known:
        raise Refused(f"there is no such service here; there are {', '.join(sorted(known))}", reason="unknown_service")
    found = [spec for spec in specs if spec.name in chosen] if chosen else [spec for spec in specs if spec.previews]
    if any(not spec.previews for spec in found):
        raise Refused("enclii.yaml says that it is not to be previewed", reason="previews_disabled")
    if not found:
        raise Refused("enclii.yaml has no service that is to be previewed", reason="previews_disabled")
    return found


def _delivery(preview: Preview, asked: Event) -> Delivery:
    """What the run is for, in the words that the planner knows; its identity is the preview's life and the head."""
    identity = f"{preview.id}/{preview.created_at}/{preview.sha}/{asked.id}"
    ref = f"refs/pull/{preview.number}/head" if preview.number else BRANCH_PREFIX + preview.branch
    return Delivery(
        id=identity, at=now(), trace=asked.trace, forge=preview.repository.partition(":")[0], kind="deploy",
        repository=preview.repository, ref=ref, after=preview.sha, actor=getattr(asked, "actor", "") or preview.by,
    )  # fmt: skip


def _planned(preview: Preview, push: Push, planned: Sequence[Planned], specs: Sequence[ServiceSpec]) -> Plan:
    run = Run(
        id=push.run, project=preview.project, repository=push.repository.id, ref=push.delivery.ref, sha=push.head,
        actor=push.delivery.actor, subject_line=push.mirror.subject(push.head)[:200], delivery=push.delivery.id,
        created_at=now(), services=tuple(one.job.service for one in planned), preview=preview.ref,
    )  # fmt: skip
    made = [one.job for one in planned]
    ends = [Change(jobs.decision(job, run), None) for job in made if job.status == "failed"]
    taken = [one.taken for one in planned if one.taken is not None]
    events = tuple(one.event for one in planned if one.event is not None)
    changes = (Change(run, 0), *(Change(job, 0) for job in made), *taken, *ends)
    return Plan(run, tuple(_service(preview, spec) for spec in specs), changes, events)


def _service(preview: Preview, spec: ServiceSpec) -> PreviewService:
    """As it stands before the new head: what runs keeps running."""
    assert preview.ref is not None
    host = preview.ref.host(spec.name) if spec.port is not None else ""
    before = next((one for one in preview.services if one.name == spec.name), None)
    return msgspec.structs.replace(before or PreviewService(name=spec.name), host=host)
