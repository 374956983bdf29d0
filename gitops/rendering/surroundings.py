"""What a service is rendered into: what its environment and earlier commands say of it, beside its release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.domains import Domains


@dataclass(frozen=True)
class Surroundings:
    """``secrets`` maps a secret's name to its version; ``replicas`` is the count that somebody scaled to, or None;
    ``pull_secret`` names the Secret by which the cluster pulls images."""

    domains: Domains = field(default_factory=Domains)
    secrets: Mapping[str, int] = field(default_factory=dict)
    replicas: int | None = None
    restarted_at: str = ""
    pull_secret: str = ""
