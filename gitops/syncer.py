"""The syncer: brings the cluster to what git says, one service at a time, the newest wish first.

It is level-based. Every pass reads the target, compares and acts; a pass may be cut off anywhere and the next one
goes on from what exists. The new release is healthy before the old one goes, or the old one stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field

import msgspec

from gitops.clusters import Cluster, DeadLog, ServiceRef, Wanted
from gitops.clusters.subset import translate
from gitops.desired import Desired
from gitops.front import Front
from gitops.gate import Gate
from gitops.live import live_from, same
from pipeline.errors import Conflict, EncliiError, Permanent, Retryable
from pipeline.events import DeploymentObserved
from pipeline.log import bound
from pipeline.records import Decision, Deployment, DeploymentStatus, Live, Target
from pipeline.store import Change, Step, Store, Stored, now

log = logging.getLogger(__name__)

DEAD_LINES = 200
STOP_GRACE = 5.0


@dataclass
class Syncer:
    """The syncer with its ports; ``deploy_timeout`` in seconds bounds how long a release may take to be healthy."""

    store: Store
    cluster: Cluster
    desired: Desired
    front: Front
    gate: Gate
    deploy_timeout: float = 300.0
    _running: dict[ServiceRef, tuple[str, asyncio.Task[None]]] = field(default_factory=dict)
    _again: set[ServiceRef] = field(default_factory=set)

    async def follow(self) -> None:
        """Act on every change of a target, for ever; what was stored before counts as changed."""
        async with asyncio.TaskGroup() as group, self.store.bus.watch("st.target.*") as messages:
            async for message in messages:
                target = msgspec.json.decode(message.data, type=Target)
                self.poke(group, ref_of(target), target.deployment)

    async def hints(self) -> None:
        """Look again whenever the cluster says that something happened."""
        async with asyncio.TaskGroup() as group:
            async for hint in self.cluster.events():
                self.poke(group, hint.ref, None)

    async def heal(self, every: float) -> None:
        """Look at everything, every so many seconds: the safety net for lost hints and for drift."""
        while True:
            await asyncio.sleep(every)
            with contextlib.suppress(EncliiError):
                targets = await self.store.all(Target)
                async with asyncio.TaskGroup() as group:
                    for target in targets:
                        self.poke(group, ref_of(target), None)

    def poke(self, group: asyncio.TaskGroup, ref: ServiceRef, deployment: str | None) -> None:
        """Start a pass for one service; one for an older deployment is cut off, any other is followed by one more."""
        running = self._running.get(ref)
        if running is not None and not running[1].done():
            if deployment is None or running[0] == deployment:
                self._again.add(ref)
                return
            running[1].cancel()
        task = group.create_task(self._passes(ref, running[1] if running else None))
        self._running[ref] = (deployment if deployment is not None else running[0] if running else "", task)

    async def _passes(self, ref: ServiceRef, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait({before})
        delay = 0.5
        while True:
            self._again.discard(ref)
            try:
                with bound(service=f"{ref.project}.{ref.service}", environment=ref.environment):
                    await self.reconcile(ref)
                if ref not in self._again:
                    return
            except Retryable as error:
                if not isinstance(error, Conflict):
                    log.warning("%s: %s", ref, error)
                await asyncio.sleep(0.05 if isinstance(error, Conflict) else delay)
                delay = min(delay * 2, 30.0)
            except Exception:
                log.exception("%s: the pass failed", ref)
                await asyncio.sleep(delay)
                delay = min(delay * 2, 30.0)

    async def reconcile(self, ref: ServiceRef) -> None:
        """One pass. Raises Retryable when a store or the cluster does not answer."""
        key = (ref.project, ref.environment, ref.service)
        target = await self.store.get(Target, *key)
        if target is None:
            return
        live = await self.store.get(Live, *key)
        if not target.record.deployment:
            await self._removed(ref, live)
            return
        deployment = await self.store.get(Deployment, target.record.deployment)
        if deployment is None:
            raise Retryable("the deployment is not recorded yet", reason="deployment_unknown")
        if deployment.record.status == "failed":
            await self._keep(ref, live)
            return
        await self._deploy(ref, deployment, live)

    async def _deploy(self, ref: ServiceRef, found: Stored[Deployment], live: Stored[Live] | None) -> None:
        try:
            await self.gate.image(found.record.image)
            wanted = await self.desired.wanted(found.record)
            found = await self._bring_up(found, wanted)
        except Permanent as error:
            await self._failed(ref, found, live, error)
            return
        await self._switch(ref, found, wanted, live)

    async def _bring_up(self, found: Stored[Deployment], wanted: Wanted) -> Stored[Deployment]:
        if found.record.status == "pending":
            found = await self._mark(found, "progressing")
        elif (await self.cluster.healthy(wanted)).status == "healthy":
            return found
        await self.cluster.start(wanted)
        await self.cluster.wait_healthy(wanted, timeout=self.deploy_timeout)
        return found

    async def _switch(
        self, ref: ServiceRef, found: Stored[Deployment], wanted: Wanted, live: Stored[Live] | None
    ) -> None:
        fresh = await self._look(wanted, live, point=True)
        if fresh.record.status != "running":
            return
        if found.record.status != "running":
            await self._mark(found, "running", running_at=found.record.running_at or now())
        dead = await self.cluster.stop(ref, keep=frozenset({wanted.deployment}), grace=STOP_GRACE)
        await self._keep_dead(dead)

    async def _look(self, wanted: Wanted, live: Stored[Live] | None, *, point: bool) -> Stored[Live]:
        """Measure, route to what is proven, and record it when it changed."""
        health, there = await asyncio.gather(self.cluster.healthy(wanted), self.cluster.observe(wanted.ref))
        seen = [one for one in there if one.deployment == wanted.deployment]
        workload = translate(wanted)
        now_live = live_from(
            wanted, seen[0] if seen else None, health, desired=workload.replicas, previous=live.record if live else None
        )
        ready = [one.address for one in now_live.replicas if one.state == "ready" and one.address]
        if workload.port is not None:
            now_live = msgspec.structs.replace(now_live, address=self.front.address(wanted.ref))
            if point and ready:
                await self.front.point(wanted.ref, ready)
        if not same(live.record if live else None, now_live):
            await self.store.commit(Step((Change(now_live, live.seq if live else 0),)))
        return Stored(now_live, 0)

    async def _keep(self, ref: ServiceRef, live: Stored[Live] | None) -> None:
        """The wanted deployment failed: what ran before keeps running, and is healed."""
        if live is None:
            return
        before = await self.store.get(Deployment, live.record.deployment)
        if before is None or before.record.status == "failed":
            return
        wanted = await self.desired.wanted(before.record)
        health = await self.cluster.healthy(wanted)
        if health.status == "unhealthy":
            await self.cluster.start(wanted)
        await self._look(wanted, live, point=True)

    async def _failed(
        self, ref: ServiceRef, found: Stored[Deployment], live: Stored[Live] | None, error: Permanent
    ) -> None:
        keep = frozenset({live.record.deployment} if live else ())
        log.warning("%s: %s failed: %s", ref, found.record.id, error)
        if found.record.id in keep:
            await self._degraded(found, live)
            return
        dead = await self.cluster.stop(ref, keep=keep, grace=STOP_GRACE)
        lines = tuple(line for one in dead for line in _lines(one))
        await self._mark(found, "failed", reason=error.reason, message=error.message, dead_logs=lines[-DEAD_LINES:])

    async def _degraded(self, found: Stored[Deployment], live: Stored[Live] | None) -> None:
        """What was running before is broken now: say so, and go on trying."""
        if found.record.status != "degraded":
            await self._mark(found, "degraded")
        if live is not None:
            wanted = await self.desired.wanted(found.record)
            await self._look(wanted, live, point=False)

    async def _removed(self, ref: ServiceRef, live: Stored[Live] | None) -> None:
        await self.front.point(ref, ())
        await self._keep_dead(await self.cluster.remove(ref, grace=STOP_GRACE))
        if live is not None and live.record.status != "removed":
            gone = msgspec.structs.replace(live.record, status="removed", health="unknown", ready=0, desired=0)
            gone = msgspec.structs.replace(gone, replicas=(), deployment="", at=now())
            await self.store.commit(Step((Change(gone, live.seq),)))

    async def _mark(
        self, found: Stored[Deployment], status: DeploymentStatus, *, reason: str = "", message: str = "",
        running_at: str = "", dead_logs: tuple[str, ...] = (),
    ) -> Stored[Deployment]:  # fmt: skip
        old = found.record
        record = msgspec.structs.replace(
            old, status=status, reason=reason, message=message, running_at=running_at or old.running_at,
            dead_logs=dead_logs or old.dead_logs, finished_at=now() if status in {"running", "failed"} else "",
        )  # fmt: skip
        event = DeploymentObserved(
            id=f"{old.id}/{found.seq}/{status}", at=now(), deployment=old.id, project=old.project,
            environment=old.environment, service=old.service, status=status, reason=reason,  # type: ignore[arg-type]
        )  # fmt: skip
        end = (Change(_end_of(record), None),) if status == "failed" else ()
        await self.store.commit(Step((Change(record, found.seq), *end), (event,)))
        log.info("%s/%s/%s: %s %s", old.project, old.environment, old.service, old.id, status)
        again = await self.store.get(Deployment, old.id)
        return again or found

    async def _keep_dead(self, dead: list[DeadLog]) -> None:
        """The last lines of what is gone stay with its deployment."""
        for one in dead:
            found = await self.store.get(Deployment, one.deployment)
            if found is None or not one.lines:
                continue
            lines = (*found.record.dead_logs, *_lines(one))[-DEAD_LINES:]
            with contextlib.suppress(Conflict):  # the logs of a dead container are worth no second attempt
                await self.store.commit(
                    Step((Change(msgspec.structs.replace(found.record, dead_logs=lines), found.seq),))
                )


def ref_of(target: Target) -> ServiceRef:
    """The service that a target speaks of."""
    return ServiceRef(target.project, target.environment, target.service)


def _end_of(failed: Deployment) -> Decision:
    """That a deployment came to nothing, for whoever asks about its push, commit, release or command."""
    return Decision(
        id=failed.id, about="deployment", outcome="failed", reason=failed.reason, message=failed.message,
        project=failed.project, environment=failed.environment, service=failed.service, sha=failed.sha,
        run=failed.run, release=failed.release, actor=failed.actor, at=failed.finished_at,
    )  # fmt: skip


def _lines(dead: DeadLog) -> tuple[str, ...]:
    return tuple(f"{dead.replica} {line.text.decode('utf-8', 'replace')}" for line in dead.lines)
