"""What every question about one service says, for processes that ask the one with the clusters' credentials."""

from __future__ import annotations

from typing import Protocol

import msgspec

from gitops.clusters import Cluster, ServiceRef


class AboutService(msgspec.Struct, frozen=True, kw_only=True):
    """A question about one service in one environment."""

    project: str
    environment: str
    service: str

    @property
    def ref(self) -> ServiceRef:
        return ServiceRef(self.project, self.environment, self.service)


class Places(Protocol):
    """Which cluster a service is on."""

    async def of(self, ref: ServiceRef) -> Cluster:
        """Raises Refused for one that this installation does not know."""
        ...
