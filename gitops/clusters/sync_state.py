"""How far a cluster's own sync tool is with one deployment, in one form for all tools."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from gitops.clusters import Health

Progress = Literal["waiting", "synced", "failing", "failed", "unknown"]
Includes = Callable[[str], bool]
"""Whether a revision of the config repository has the wanted commit in it: it is that commit, or a later one."""


@dataclass(frozen=True)
class Sync:
    """``failing`` is being tried again by the tool, ``failed`` is not; ``detail`` is the tool's own text."""

    progress: Progress
    reason: str = ""
    detail: str = ""

    def health(self, pods: Health) -> Health:
        """The health of a deployment whose pods say ``pods``: what is not synced is not live, whatever runs."""
        if self.progress == "synced":
            return pods
        if self.progress in ("failing", "failed"):
            return Health("unhealthy", self.reason, self.detail)
        return Health("unknown", self.reason or "syncing", self.detail or None)
