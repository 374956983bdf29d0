"""What pods said last: kept with their deployment, because the cluster forgets them with the pod."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from gitops.clusters import DeadLog, LogLine, ServiceRef
from gitops.clusters import kube_rollout as rollout
from gitops.clusters.kube_api import Api
from gitops.clusters.kube_logs import Reader
from gitops.clusters.kube_objects import PREFIX, ContainerStatus, Deployment, Pod
from gitops.clusters.kube_view import View
from pipeline.errors import Unavailable

LAST_LINES = 200
TOLD_LINES = 20


@dataclass(frozen=True)
class LastWords:
    """Reads them on one cluster; ``id_of`` says which deployment an object belongs to."""

    api: Api
    view: View
    id_of: Callable[[Deployment], str]

    async def of_service(self, ref: ServiceRef) -> list[str]:
        """The newest lines of its pods that are not ready."""
        current = self.view.seen(ref).get("")
        pods = [pod for pod in current.pods if not rollout.ready(pod)] if current else []
        logs = await asyncio.gather(*(self.of_pod(ref, pod) for pod in pods[:3]))
        lines = sorted((line for log in logs for line in log.lines), key=lambda line: line.time)[-TOLD_LINES:]
        return [line.text.decode("utf-8", "replace") for line in lines]

    async def of_pod(self, ref: ServiceRef, pod: Pod) -> DeadLog:
        """The last lines of a pod: of the life that runs, and of the one before when it has just begun."""
        lines: list[LogLine] = []
        code = None
        release = pod.metadata.annotations.get(PREFIX + "release", "").rpartition(".")[2]
        for status in _telling(pod):
            reader = Reader(self.api, pod, status.name)
            with contextlib.suppress(Unavailable):
                if status.restart_count and status.state.running is not None:
                    lines += await reader.read(tail=LAST_LINES, previous=True)
                lines += await reader.read(tail=LAST_LINES)
            ended = status.state.terminated or status.last_state.terminated
            code = ended.exit_code if ended else code
        lines = sorted(lines, key=lambda line: line.time)[-LAST_LINES:]
        deployment = self.view.deployment(ref)
        known = self.id_of(deployment) if deployment else ""
        return DeadLog(ref, known, pod.metadata.name, release, code, tuple(lines))


def _telling(pod: Pod) -> list[ContainerStatus]:
    """The containers that may say why a pod is not ready: not those that had only to run first, and did."""
    first = [one for one in pod.status.init_container_statuses if not _ended_well(one)]
    return [*first, *pod.status.container_statuses]


def _ended_well(status: ContainerStatus) -> bool:
    ended = status.state.terminated
    return ended is not None and ended.exit_code == 0
