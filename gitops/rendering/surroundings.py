"""What a service is rendered into: what its environment and earlier commands say of it, beside its release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.domains import Domains


@dataclass(frozen=True)
class Shared:
    """A service of the base environment as a preview reaches it."""

    project: str
    environment: str
    service: str
    namespace: str
    port: int

    @property
    def host(self) -> str:
        """Its name within a cluster; podman knows it by the same one."""
        return f"{self.service}.{self.namespace}.svc.cluster.local"

    @property
    def variable(self) -> str:
        """``SEARCH_URL``."""
        return f"{self.service.upper().replace('-', '_')}_URL"

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"


@dataclass(frozen=True)
class Surroundings:
    """``secrets`` maps a secret's name to its version; ``replicas`` is the count that somebody scaled to, or None;
    ``pull_secret`` names the Secret by which the cluster pulls images."""

    domains: Domains = field(default_factory=Domains)
    secrets: Mapping[str, int] = field(default_factory=dict)
    replicas: int | None = None
    restarted_at: str = ""
    pull_secret: str = ""
    shared: tuple[Shared, ...] = ()
    """Of a preview: what it reaches of its base environment."""
