"""How previews get on: what was built, runs and is gone becomes their state, and their time is looked after.

It is level-based: each word of a builder, of the observer or of the clock leads to one look at everything that the
records say of one preview. So a process that dies between two words loses nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

import msgspec
from msgspec.structs import replace

from pipeline.errors import Conflict, EncliiError, Retryable, Unavailable
from pipeline.events import PreviewRequested
from pipeline.jobs import OPEN
from pipeline.names import token
from pipeline.preview_life import evicted, full, later, verdict
from pipeline.previews import GONE, Activity, Preview, PreviewService, PullRequest, is_preview
from pipeline.records import Deployment, Job, Live, Project, Route, Run, Target
from pipeline.stages.preview import Previews, changed
from pipeline.stages.preview_state import copied, judged, otherwise, running, told, waits
from pipeline.store import Change, Step, Stored, now

log = logging.getLogger(__name__)

RECONNECT = 1.0
TRIES = 5
NEVER = float("inf")
"""How long one runs unasked that the front door does not lead to: nobody would hear the request that wakes it."""
Shed = Callable[[Preview], Awaitable[int]]
"""Deletes a preview's images from the registry; how many manifests are left."""


@dataclass
class Watcher:
    """The previews by their environments and runs, and the ports to end them."""

    stage: Previews
    shed: Shed
    every: float
    _places: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    _runs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _hosts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _ending: WeakValueDictionary[tuple[str, ...], asyncio.Lock] = field(default_factory=WeakValueDictionary)

    async def follow(self) -> None:
        """Watch, and sweep now and then, for ever."""
        async with asyncio.TaskGroup() as group:
            for doing in (self._previews, self._jobs, self._lives, self._deployments, self._clock):
                group.create_task(_kept_up(doing))

    async def _previews(self) -> None:
        async with self.stage.store.bus.watch("st.preview.*") as messages:
            async for message in messages:
                one = msgspec.json.decode(message.data, type=Preview)
                self._know(one)
                await self.look(one.key)

    def _know(self, one: Preview) -> None:
        self._places[one.project, one.environment] = one.key
        self._runs[one.run] = one.key
        for host in (service.host for service in one.services if service.host):
            self._hosts[host] = one.key
        if one.state == "removed":
            for known in (self._runs, self._hosts):
                for name in [name for name, key in known.items() if key == one.key]:
                    del known[name]

    async def _jobs(self) -> None:
        async with self.stage.store.bus.watch("st.job.*") as messages:
            async for message in messages:
                job = msgspec.json.decode(message.data, type=Job)
                if (key := self._runs.get(job.run)) is not None:
                    await self.look(key)

    async def _lives(self) -> None:
        """What the observer sees."""
        async with self.stage.store.bus.watch("st.live.*") as messages:
            async for message in messages:
                live = msgspec.json.decode(message.data, type=Live)
                if (key := self._places.get((live.project, live.environment))) is not None:
                    await self.look(key)

    async def _deployments(self) -> None:
        """One that fails at its first start is never seen live."""
        async with self.stage.store.bus.watch("st.deployment.*") as messages:
            async for message in messages:
                one = msgspec.json.decode(message.data, type=Deployment)
                if (key := self._places.get((one.project, one.environment))) is not None:
                    await self.look(key)

    async def heard(self, body: bytes) -> bytes:
        """A request came for a host: the preview lives longer, and one that sleeps is woken. The next request says it
        again, so what could not be written now is no reason to end who plans production's builds.
        """
        try:
            return await self._heard(body)
        except EncliiError as error:
            log.warning("a request for a preview is not noted: %s", error)
            return b""

    async def _heard(self, body: bytes) -> bytes:
        host = body.decode("ascii", "replace").lower()[:253]
        key = self._hosts.get(host)
        found = await self.stage.store.get(Preview, *key) if key else None
        if found is None or found.record.state in GONE:
            return b""
        if found.record.state == "asleep":
            one = found.record
            await self.stage.store.publish(_asked(one, "wake", f"wake/{one.id}/{found.seq}"))
        await self.stage.store.commit(Step((Change(Activity(host=host, at=now()), None),)))
        return b"ok"

    # -- one look at one preview

    async def look(self, key: tuple[str, ...]) -> None:
        """Bring the record to what the other records say. Raises Unavailable when the event store is away."""
        with _apart(key):
            for _ in range(TRIES):
                found = await self.stage.store.get(Preview, *key)
                if found is None:
                    return
                try:
                    await self._look(found)
                    return
                except Conflict:
                    continue

    async def _look(self, found: Stored[Preview]) -> None:
        one = found.record
        if one.state == "removing":
            await self._end(one.key)
        if one.state in GONE or one.state == "asleep" or not one.run:
            return
        services = [await self._service(one, service) for service in one.services]
        seen = replace(one, services=told(services))
        if not waits(one):
            seen = judged(seen)
        if seen == one:
            return
        moved = seen.state != one.state and seen.state in ("ready", "failed")
        events = (changed(seen, "ready" if seen.state == "ready" else "failed"),) if moved else ()
        await self.stage.store.commit(Step((Change(seen, found.seq),), events))

    async def _service(self, one: Preview, service: PreviewService) -> PreviewService:
        get = self.stage.store.get
        job = await get(Job, one.run, service.name)
        live = await get(Live, one.project, one.environment, service.name)
        target = await get(Target, one.project, one.environment, service.name)
        wanted = await get(Deployment, target.record.deployment) if target and target.record.deployment else None
        release = job.record.release if job else ""
        if service.copied:
            return copied(service, live.record if live else None, wanted.record if wanted else None)
        found = replace(service, status="building", reason="", message="")
        if live is not None and live.record.deployment:
            found = replace(found, address=live.record.address, release=live.record.release)
        if job is not None and job.record.status in ("failed", "cancelled", "skipped"):
            return replace(found, status="failed", reason=job.record.reason, message=job.record.message)
        if wanted is not None and wanted.record.release == release:
            return running(found, wanted.record, live.record if live else None, one.sha)
        if job is not None and job.record.status == "deployed":  # and git was changed since, by another hand
            return otherwise(found, wanted.record if wanted else None, live.record if live else None)
        return found

    async def _end(self, key: tuple[str, ...]) -> None:
        """One at a time, and of what it is by then: a new life's images would lie under the same paths."""
        async with self._ending.setdefault(key, asyncio.Lock()):
            found = await self.stage.store.get(Preview, *key)
            if found is not None and found.record.state == "removing":
                await self._ended(found)

    async def _ended(self, found: Stored[Preview]) -> None:
        """Once nothing of it runs and git has nothing of it, its images go; then it is removed."""
        one = found.record
        if left := tuple(await self.left(one)):
            if left != one.left:
                await self.stage.store.commit(Step((Change(replace(one, left=left), found.seq),)))
            return
        try:
            if await self.shed(one):
                return
        except Exception as error:  # a registry may say anything, and is no reason to look after no preview
            await self._stuck(found, error)
            return
        gone = replace(one, state="removed", removed_at=now(), services=(), left=())
        events = (changed(gone, "removed"), *await self.stage.reopened(one))
        await self.stage.store.commit(Step((Change(gone, found.seq),), events))

    async def _stuck(self, found: Stored[Preview], error: Exception) -> None:
        """Say why it is not removed yet; said once, because each word on the record leads to another look."""
        reason = error.reason if isinstance(error, EncliiError) else "unexpected"
        log.warning("the images of preview %s stay until the next sweep: %s", found.record.id, reason, exc_info=error)
        noted = replace(found.record, message=f"its images could not be deleted ({reason}); the next sweep tries again")
        if noted != found.record:
            await self.stage.store.commit(Step((Change(noted, found.seq),)))

    async def left(self, one: Preview) -> list[str]:
        """What there still is of a preview, for people: its services in git and in the cluster, and its jobs."""
        get = self.stage.store.get
        found: list[str] = []
        for target in await self._targets(one):
            if target.deployment:
                found.append(f"git: {target.service}")
            live = await get(Live, one.project, one.environment, target.service)
            if live is None or live.record.deployment or live.record.removed != target.config_commit:
                found.append(f"cluster: {target.service}")
        return found or [f"job: {name}" for name in await self._building(one)]

    async def _building(self, one: Preview) -> list[str]:
        """What of it is still built, by its last run or one that a later head has overtaken: that may yet be pushed."""
        store = self.stage.store
        here = {
            run.id for run in await store.all(Run)
            if run.preview is not None and (run.project, run.preview.environment) == (one.project, one.environment)
        }  # fmt: skip
        return sorted({job.service for job in await store.all(Job) if job.run in here and job.status in OPEN})

    async def _targets(self, one: Preview) -> list[Target]:
        every = await self.stage.store.all(Target)
        return [target for target in every if (target.project, target.environment) == (one.project, one.environment)]

    # -- the clock

    async def _clock(self) -> None:
        while True:
            await self.sweep()
            await asyncio.sleep(self.every)

    async def sweep(self) -> int:
        """Look over everything; how many previews were changed."""
        store, at, count = self.stage.store, now(), 0
        hits = {one.host: one.at for one in await store.all(Activity)}
        pulls = {one.key: one for one in await store.all(PullRequest)}
        rules = {one.slug: one.previews for one in await store.all(Project)}
        routed = {one.host for one in await store.all(Route) if not one.gone}
        for one in await store.all(Preview):
            found = await store.get(Preview, *one.key)
            if found is not None and one.state != "removed":
                heard = any(service.host in routed for service in one.services)
                sleep = getattr(rules.get(one.project), "sleep", 0.0) if heard else NEVER
                with _apart(one.key):
                    pull = pulls.get((one.repository, str(one.number)))
                    count += await self._aged(found, hits, pull, at, sleep=sleep)
        await self._orphans()
        return count + await self._queue(at)

    async def _aged(
        self, found: Stored[Preview], hits: dict[str, str], pull: PullRequest | None, at: str, *, sleep: float
    ) -> bool:
        store, one = self.stage.store, found.record
        if one.state == "removing":
            await self._end(one.key)
            return True
        if pull is not None and pull.state == "closed":
            await store.commit(self.stage.removing(found, "closed", "the pull request was closed"))
            return True
        last = max([one.active_at, *(hits.get(service.host, "") for service in one.services)])
        active = later(replace(one, active_at=last, warned_at="" if last > one.active_at else one.warned_at),
                       self.stage.limits)  # fmt: skip
        said = verdict(active, at, self.stage.limits, sleep=sleep)
        if said == "expired":
            await store.commit(self.stage.removing(found, "expired", f"nobody used it since {last}"))
        elif said == "warned":
            warned = replace(active, warned_at=at)
            await store.commit(Step((Change(warned, found.seq),), (changed(warned, "warned"),)))
        elif said == "asleep":
            sleeping = tuple(replace(service, status="asleep") for service in active.services)
            asleep = replace(active, state="asleep", services=sleeping)
            await store.commit(Step((Change(asleep, found.seq),), (changed(asleep, "asleep"),)))
        elif active != one:
            await store.commit(Step((Change(active, found.seq),)))
        return bool(said) or active != one

    async def _orphans(self) -> None:
        """What git has of a preview that no record knows is taken out of it: the store may have been lost.

        Records are read after what git has: a preview is recorded before git has anything of it.
        """
        lost = {
            (target.project, target.environment): target.config_commit
            for target in await self.stage.store.all(Target)
            if target.deployment and is_preview(target.environment)
        }
        known = {
            (one.project, one.environment) for one in await self.stage.store.all(Preview) if one.state != "removed"
        }
        for (project, environment), commit in lost.items():
            if (project, environment) not in known:
                nobody = Preview(id=f"{project}.{environment}", project=project, repository="", state="removing",
                                 environment=environment, reason="unknown")  # fmt: skip
                event = replace(changed(nobody, "removing"), id=f"{nobody.id}/{commit}/orphan")
                await self.stage.store.publish(event)

    async def _queue(self, at: str) -> int:
        """Begin what waits for a place, oldest first; one that nobody has used for a day makes room."""
        store, begun = self.stage.store, 0
        every = await store.all(Preview)
        rules = {one.slug: one.previews for one in await store.all(Project)}
        waiting = sorted((one for one in every if (one.state, one.reason) == ("waiting", "cap")), key=_age)
        for one in waiting:
            cap = rules[one.project].cap if one.project in rules else 0
            with _apart(one.key):
                if full(one, await store.all(Preview), self.stage.limits, cap):
                    await self._make_room(one, at)
                else:
                    begun += await self._begun(one)
        return begun

    async def _begun(self, one: Preview) -> bool:
        found = await self.stage.store.get(Preview, *one.key)
        if found is None or found.record.state != "waiting":
            return False
        try:
            step = await self.stage.started(found, _asked(one, "sweep", f"queue/{one.id}/{found.seq}"))
            await self.stage.store.commit(step)
        except Retryable:  # its forge is away, or somebody wrote first: it keeps its place in the queue
            return False
        except EncliiError as error:
            await self.stage.store.commit(self.stage.removing(found, error.reason, error.message))
            return False
        return True

    async def _make_room(self, one: Preview, at: str) -> None:
        rivals = [other for other in await self.stage.store.all(Preview) if other.project == one.project]
        last = evicted(rivals, at)
        found = await self.stage.store.get(Preview, *last.key) if last else None
        if found is not None:
            with contextlib.suppress(Conflict):
                await self.stage.store.commit(self.stage.removing(found, "evicted", f"idle; {one.id} takes its place"))


def _age(one: Preview) -> str:
    return one.created_at


def _asked(one: Preview, verb: str, identity: str) -> PreviewRequested:
    return PreviewRequested(
        id=f"{verb}/{token(identity)}", at=now(), verb="wake" if verb == "wake" else "sweep", project=one.project,
        repository=one.repository, number=one.number, branch=one.branch, actor="enclii",
    )  # fmt: skip


@contextlib.contextmanager
def _apart(key: tuple[str, ...]) -> Iterator[None]:
    """What is wrong with one preview does not hold up the others; the next word or sweep tries again.

    That the event store is away is wrong with all of them, so Unavailable passes.
    """
    try:
        yield
    except Conflict:
        pass
    except Unavailable:
        raise
    except Exception:
        log.exception("preview %s is passed over for now", "/".join(key))


async def _kept_up(doing: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await doing()
        except EncliiError as error:
            log.warning("previews wait for the event store: %s", error)
        except Exception:  # whoever plans production's builds shares this process
            log.exception("previews are looked after again in a moment")
        await asyncio.sleep(RECONNECT)
