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

from gitops.clusters import Cluster, DeadLog, Health, ServiceRef, Wanted
from gitops.gate.signatures import Gate
from gitops.syncing import front, secret_keeper, spans
from gitops.syncing.desired import Desired
from gitops.syncing.front import Front
from gitops.syncing.live import ended, last_lines, live_from, same, unseen
from gitops.syncing.placement import PLACELESS, Clusters, is_away
from pipeline.errors import Conflict, EncliiError, Permanent, Retryable, Unavailable
from pipeline.events import DeploymentObserved
from pipeline.log import bound
from pipeline.previews import is_preview
from pipeline.records import Decision, Deployment, DeploymentStatus, Live, Target
from pipeline.store import Change, Step, Store, Stored, now

log = logging.getLogger(__name__)

STOP_GRACE = 5.0
DOUBT = 4.0
"""Seconds of waiting between passes that fail, from which on nothing is believed that none of them could see."""


@dataclass
class Syncer:
    """The syncer with its ports; ``deploy_timeout`` in seconds bounds how long a release may take to be healthy."""

    store: Store
    clusters: Clusters
    desired: Desired
    front: Front
    gate: Gate
    deploy_timeout: float = 300.0
    _running: dict[ServiceRef, tuple[str, asyncio.Task[None]]] = field(default_factory=dict)
    _again: set[ServiceRef] = field(default_factory=set)
    _looked: set[ServiceRef] = field(default_factory=set)

    async def follow(self) -> None:
        """Act on every change of a target, for ever; what was stored before counts as changed."""
        async with asyncio.TaskGroup() as group, self.store.bus.watch("st.target.*") as messages:
            async for message in messages:
                target = msgspec.json.decode(message.data, type=Target)
                self.poke(group, ref_of(target), target.deployment)

    async def hints(self) -> None:
        """Look again whenever the cluster says that something happened."""
        async with asyncio.TaskGroup() as group:
            async for hint in self.clusters.events():
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
            except Conflict:
                await asyncio.sleep(0.05)
            except Retryable as error:
                log.warning("%s: %s", ref, error)
                delay = await self._later(ref, delay, error.message)
            except Exception as error:
                log.exception("%s: the pass failed", ref)
                delay = await self._later(ref, delay, type(error).__name__)

    async def _later(self, ref: ServiceRef, delay: float, why: str) -> float:
        """Wait, longer each time; a service that passes do not get to look at is not called running for ever."""
        if delay >= DOUBT and ref not in self._looked:
            with contextlib.suppress(EncliiError):
                live = await self.store.get(Live, *_key(ref))
                if live is not None and live.record.status == "running":
                    await self._record(unseen(live.record, f"nobody could look at it: {why}"), live)
        await asyncio.sleep(delay)
        return min(delay * 2, 30.0)

    async def reconcile(self, ref: ServiceRef) -> None:
        """One pass. Raises Retryable when a store or the cluster does not answer."""
        self._looked.discard(ref)
        target = await self.store.get(Target, *_key(ref))
        if target is None:
            return
        live = await self.store.get(Live, *_key(ref))
        try:
            await self._compare(ref, target.record, live)
        except Unavailable as error:
            if is_away(error) and live is not None:
                await self._record(unseen(live.record, error.message), live)
            raise

    async def _compare(self, ref: ServiceRef, target: Target, live: Stored[Live] | None) -> None:
        if not target.deployment:
            await self._removed(ref, target.config_commit, live)
            return
        deployment = await self.store.get(Deployment, target.deployment)
        if deployment is None:
            raise Retryable("the deployment is not recorded yet", reason="deployment_unknown")
        if deployment.record.status == "failed":
            await self._keep(ref, deployment, live)
            return
        await self._deploy(ref, deployment, live)

    async def _deploy(self, ref: ServiceRef, found: Stored[Deployment], live: Stored[Live] | None) -> None:
        try:
            await self.gate.image(found.record.image, preview=is_preview(ref.environment))
            cluster, wanted = await self.clusters.of(ref), await self._wanted(found.record)
            if live is None or live.record.deployment != wanted.deployment:
                await secret_keeper.present(self.clusters.secrets, found.record, wanted)
            await self._bring_up(cluster, found, wanted)
        except Permanent as error:
            await self._failed(ref, found.record.id, live, error)
            return
        await self._switch(ref, cluster, found.record.id, wanted)

    async def _bring_up(self, cluster: Cluster, found: Stored[Deployment], wanted: Wanted) -> None:
        if found.record.status == "pending":
            await self._mark(found, "progressing")
        elif await self._is_so(cluster, wanted):
            return
        else:
            await self._at_once(cluster, wanted)
        try:
            await self.clusters.leading(cluster).start(wanted)
        except Unavailable as error:
            if not is_away(error):
                await self._blocked(cluster, wanted, Health("unhealthy", error.reason, error.message))
            raise

        async def told(now: Health) -> None:
            await self._hindered(cluster, wanted, now)

        await cluster.wait_healthy(wanted, timeout=self.deploy_timeout, told=told)

    async def _is_so(self, cluster: Cluster, wanted: Wanted) -> bool:
        """Whether the cluster has what git says: healthy, and as it was applied unless drift is to be kept."""
        health = await cluster.healthy(wanted)
        drift = await cluster.drift(wanted)
        if drift:
            log.warning("%s: the cluster differs from git (%s): %s", wanted.ref, wanted.drift, "; ".join(drift))
        return health.status == "healthy" and (not drift or wanted.drift == "keep")

    async def _hindered(self, cluster: Cluster, wanted: Wanted, health: Health) -> None:
        """Say at once what stands in the way, and what serves meanwhile; whether it fails, the deadline decides."""
        found = await self.store.get(Deployment, wanted.deployment)
        status: DeploymentStatus = "degraded" if health.status == "unhealthy" else "progressing"
        new = found is not None and (status, health.reason) != (found.record.status, found.record.reason or None)
        if found is not None and new and "degraded" in (status, found.record.status):
            await self._mark(
                found, status, reason=health.reason or "", message=health.detail or "", dead_logs=health.lines
            )
        live = await self.store.get(Live, *_key(wanted.ref))
        if live is not None and live.record.deployment == wanted.deployment:
            await self._look(cluster, wanted, live, point=False)
        elif live is not None:
            await self._look_back(cluster, live)

    async def _at_once(self, cluster: Cluster, wanted: Wanted) -> None:
        """What ran and is not whole any more is said before it is mended."""
        live = await self.store.get(Live, *_key(wanted.ref))
        if live is not None and live.record.deployment == wanted.deployment:
            await self._look(cluster, wanted, live, point=False)

    async def _blocked(self, cluster: Cluster, wanted: Wanted, why: Health) -> None:
        """The cluster takes nothing for now, and says why; a release that ran before is not blamed for it."""
        live = await self.store.get(Live, *_key(wanted.ref))
        if live is None or live.record.deployment != wanted.deployment:
            await self._hindered(cluster, wanted, why)
            return
        measured = await cluster.healthy(wanted)
        await self._look(cluster, wanted, live, point=False, health=measured if measured.status == "healthy" else why)

    async def _look_back(self, cluster: Cluster, live: Stored[Live]) -> None:
        """What an older deployment still serves while a newer one is tried."""
        before = await self.store.get(Deployment, live.record.deployment)
        if before is not None:
            wanted = await self._wanted(before.record)
            await self._look(cluster, wanted, live, point=False, health=await cluster.serving(wanted))

    async def _wanted(self, deployment: Deployment) -> Wanted:
        return self.clusters.placed(await self.desired.wanted(deployment))

    async def _switch(self, ref: ServiceRef, cluster: Cluster, deployment: str, wanted: Wanted) -> None:
        live = await self.store.get(Live, *_key(ref))
        fresh = await self._look(cluster, wanted, live, point=True)
        if fresh.record.status != "running":
            return
        found = await self.store.get(Deployment, deployment)
        if found is not None and found.record.status != "running":
            await self._mark(found, "running", running_at=found.record.running_at or now())
        dead = await self.clusters.leading(cluster).stop(ref, keep=frozenset({wanted.deployment}), grace=STOP_GRACE)
        await self._keep_dead(dead)

    async def _look(
        self, cluster: Cluster, wanted: Wanted, live: Stored[Live] | None, *, point: bool, health: Health | None = None
    ) -> Stored[Live]:
        """Measure, route to what is proven, and record it when it changed."""
        measured = cluster.healthy(wanted) if health is None else _same(health)
        found, there = await asyncio.gather(measured, cluster.observe(wanted.ref))
        seen = [one for one in there if one.deployment == wanted.deployment]
        workload = cluster.workload(wanted)
        now_live = live_from(
            wanted, seen[0] if seen else None, found, desired=workload.replicas, previous=live.record if live else None
        )
        now_live = msgspec.structs.replace(now_live, drift=await cluster.drift(wanted))
        if workload.port is not None:
            elsewhere = cluster.address(wanted)
            host = front.host_of(wanted, self.front.base)
            now_live = msgspec.structs.replace(now_live, address=elsewhere or self.front.address(host))
            ready = [one.address for one in now_live.replicas if one.state == "ready" and one.address]
            if point and elsewhere is None and (ready or not workload.replicas):
                await self.front.point(host, ready, preview=is_preview(wanted.ref.environment))
        self._looked.add(wanted.ref)
        return await self._record(now_live, live)

    async def _record(self, now_live: Live, live: Stored[Live] | None) -> Stored[Live]:
        if not same(live.record if live else None, now_live):
            passed = await self._passed(live.record.deployment, now_live.deployment) if live else ()
            await self.store.commit(Step((Change(now_live, live.seq if live else 0), *passed)))
        return Stored(now_live, 0)

    async def _passed(self, before: str, after: str) -> tuple[Change, ...]:
        """The end of what was live, in the same step in which another deployment becomes so."""
        found = await self.store.get(Deployment, before) if before not in ("", after) else None
        if found is None or found.record.status not in ("running", "degraded"):
            return ()
        return (Change(msgspec.structs.replace(found.record, status="replaced", finished_at=now()), found.seq),)

    async def _keep(self, ref: ServiceRef, failed: Stored[Deployment], live: Stored[Live] | None) -> None:
        """The wanted deployment failed: what ran before keeps running, and is healed.

        Where a cluster rolls, the failed one stays as git wants it, and it is running once its cause is gone; but never
        what the gate refuses, though the cluster's own tool may have applied it.
        """
        cluster = await self.clusters.of(ref)
        if cluster.rolls:
            wanted = await self._wanted(failed.record)
            if (await cluster.healthy(wanted)).status == "healthy" and await self._passes_gate(failed.record):
                await self._switch(ref, cluster, failed.record.id, wanted)
            elif live is not None:
                await self._look_back(cluster, live)
            return
        before = await self.store.get(Deployment, live.record.deployment) if live else None
        if before is None or before.record.status == "failed":
            return
        wanted = await self._wanted(before.record)
        if (await cluster.healthy(wanted)).status == "unhealthy":
            await self.clusters.leading(cluster).start(wanted)
        await self._look(cluster, wanted, live, point=True)

    async def _passes_gate(self, deployment: Deployment) -> bool:
        try:
            await self.gate.image(deployment.image, preview=is_preview(deployment.environment))
        except Permanent as error:
            log.error("%s runs though it was refused: %s", deployment.id, error)
            return False
        return True

    async def _failed(self, ref: ServiceRef, deployment: str, live: Stored[Live] | None, error: Permanent) -> None:
        found = await self.store.get(Deployment, deployment)
        if found is None:
            return
        keep = frozenset({live.record.deployment} if live else ())
        log.warning("%s: %s failed: %s", ref, deployment, error)
        if deployment in keep:
            await self._degraded(ref, found, live, error)
            return
        dead = await self._stopped(ref, keep, error)
        lines = tuple(line for one in dead for line in _lines(one))
        await self._mark(found, "failed", reason=error.reason, message=error.message, dead_logs=last_lines(lines))

    async def _stopped(self, ref: ServiceRef, keep: frozenset[str], error: Permanent) -> list[DeadLog]:
        if error.reason in PLACELESS:
            return []
        return await (await self.clusters.of(ref)).stop(ref, keep=keep, grace=STOP_GRACE)

    async def _degraded(
        self, ref: ServiceRef, found: Stored[Deployment], live: Stored[Live] | None, error: Permanent
    ) -> None:
        """What was running before is broken now: say so, and go on trying."""
        if found.record.status != "degraded":
            await self._mark(found, "degraded", reason=error.reason, message=error.message)
        if error.reason in PLACELESS:  # wherever it runs, nobody looks at it
            if live is not None and live.record.status == "running":
                await self._record(unseen(live.record, error.message), live)
        else:
            wanted, fresh = await self._wanted(found.record), await self.store.get(Live, *_key(ref))
            await self._look(await self.clusters.of(ref), wanted, fresh, point=False)

    async def _removed(self, ref: ServiceRef, commit: str, live: Stored[Live] | None) -> None:
        """Say first that it leaves: its containers take their time to stop, and it is not live meanwhile."""
        await self.front.gone(ref, live.record.address if live is not None else "")
        if live is not None and live.record.status != "removed":
            leaving = msgspec.structs.replace(live.record, status="removed", health="unknown", ready=0, desired=0)
            await self.store.commit(Step((Change(leaving, live.seq),)))
            live = await self.store.get(Live, *_key(ref))
        await self._keep_dead(await self.clusters.leading(await self.clusters.of(ref)).remove(ref, grace=STOP_GRACE))
        if live.record.removed != commit if live is not None else is_preview(ref.environment):
            # Whoever ends a preview waits for this word; that an earlier life of it is gone says nothing.
            gone = ended(ref, live.record if live else None, commit)
            await self.store.commit(Step((Change(gone, live.seq if live else 0),)))

    async def _mark(
        self, found: Stored[Deployment], status: DeploymentStatus, *, reason: str = "", message: str = "",
        running_at: str = "", dead_logs: tuple[str, ...] = (),
    ) -> Stored[Deployment]:  # fmt: skip
        old = found.record
        record = msgspec.structs.replace(
            old, status=status, reason=reason, message=message, running_at=running_at or old.running_at,
            dead_logs=dead_logs or old.dead_logs, finished_at=now() if status in {"running", "failed"} else "",
            since=old.since if status == old.status else now(),
        )  # fmt: skip
        event = DeploymentObserved(
            id=f"{old.id}/{found.seq}/{status}", at=now(), deployment=old.id, project=old.project,
            environment=old.environment, service=old.service, status=status, reason=reason,  # type: ignore[arg-type]
            trace=old.trace,
        )  # fmt: skip
        end = (Change(_end_of(record), None),) if status == "failed" else ()
        await self.store.commit(Step((Change(record, found.seq), *end), (event,)))
        if status == "running" and not old.running_at:
            spans.rollout(record)
        with bound(run=old.run, commit=old.sha[:12]):
            log.info("%s/%s/%s: %s %s", old.project, old.environment, old.service, old.id, status)
        return await self.store.get(Deployment, old.id) or found

    async def _keep_dead(self, dead: list[DeadLog]) -> None:
        """The last lines of what is gone stay with its deployment."""
        for one in dead:
            found = await self.store.get(Deployment, one.deployment)
            if found is None or not one.lines:
                continue
            lines = last_lines((*found.record.dead_logs, *_lines(one)))
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


async def _same(health: Health) -> Health:
    return health


def _key(ref: ServiceRef) -> tuple[str, str, str]:
    return ref.project, ref.environment, ref.service


def _lines(dead: DeadLog) -> tuple[str, ...]:
    return tuple(f"{dead.replica} {line.text.decode('utf-8', 'replace')}" for line in dead.lines)
