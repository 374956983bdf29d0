"""Release jobs: waited for to the end, whose failure stops the rollout with their last lines."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec

from gitops.clusters import DeadLog, ServiceRef, Wanted, kube_plan
from gitops.clusters.kube_api import Api
from gitops.clusters.kube_objects import Job, Pod, condition
from gitops.clusters.kube_plan import Item
from gitops.clusters.kube_view import View
from pipeline.errors import Permanent

JOB_LIMIT = 1_800.0
RECHECK = 5.0
TOLD_LINES = 20

Drain = Callable[[ServiceRef, Pod], Awaitable[DeadLog]]
"""Reads the last lines of a pod."""


@dataclass(frozen=True)
class ReleaseJobs:
    """The jobs of the services on one cluster."""

    api: Api
    view: View
    drain: Drain

    async def finished(self, wanted: Wanted, item: Item) -> None:
        """Return once the job has done its work. Raises Permanent with its last lines when it failed."""
        path = item.kind.object(kube_plan.namespace_of(wanted), item.name)
        with contextlib.suppress(TimeoutError):
            await self._done(wanted, item, path)
            return
        raise Permanent(f"the release job {item.name} does not end", reason="release_timeout")

    async def _done(self, wanted: Wanted, item: Item, path: str) -> None:
        async with asyncio.timeout(JOB_LIMIT):
            while True:
                moved = self.view.moved(wanted.ref)
                data = await self.api.get(path, doing=f"look at {item}")
                job = msgspec.json.decode(data, type=Job)
                done = condition(job.status.conditions, "Complete")
                if done is not None and done.status == "True":
                    return
                if (failed := condition(job.status.conditions, "Failed")) and failed.status == "True":
                    late = failed.reason == "DeadlineExceeded"
                    raise await self._failed(wanted, item, "release_timeout" if late else "release_failed")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RECHECK):
                        await moved.wait()

    async def _failed(self, wanted: Wanted, item: Item, reason: str) -> Permanent:
        pods = [pod for pod in self.view.pods(wanted.ref) if pod.metadata.owner == item.name]
        logs = await asyncio.gather(*(self.drain(wanted.ref, pod) for pod in pods))
        lines = sorted((line for log in logs for line in log.lines), key=lambda line: line.time)[-TOLD_LINES:]
        said = "".join(f"\n  {line.text.decode('utf-8', 'replace')[:300]}" for line in lines)
        return Permanent(f"the release job {item.name} failed, so nothing was rolled out{said}", reason=reason)
