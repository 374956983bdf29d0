"""The gate's checks for a stranger: an image, a public key and the registry, and nothing of any Enclii."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gitops.gate.evaluation import Evaluation
from gitops.gate.inspection import inspected
from gitops.gate.policyfile import Policy, parse
from pipeline.evidence import Demand
from pipeline.images import ImageRef
from pipeline.isolation import builder_ids
from pipeline.keys import load_public
from pipeline.registries import Registries
from pipeline.registry_accounts import Accounts
from pipeline.trust import Trusted

MISTAKES: Final = frozenset(
    {"bad_key", "key_unreadable", "bad_policy", "bad_trusted_root", "bad_image", "library_missing"}
)
"""What is wrong with what was given here, and says nothing of the image."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The image by its digest, whose signature counts, and what is asked; ``source`` goes with ``commit``."""

    image: str
    keys: tuple[Path, ...] = ()
    identity: str = ""
    issuer: str = ""
    trusted_root: Path | None = None
    policy: Path | None = None
    builders: tuple[str, ...] = ()
    source: str = ""
    commit: str = ""
    plain_http: bool = False


async def verified(wanted: Wanted, *, env: Mapping[str, str]) -> Evaluation:
    """Every check with its answer. Raises Invalid for what was given wrongly, Refused and Unavailable."""
    image = ImageRef.parse(wanted.image)
    builders = frozenset().union(*map(builder_ids, wanted.builders))
    policy = parse(wanted.policy.read_bytes()) if wanted.policy else Policy()
    demand = Demand(wanted.source, wanted.commit, policy.builders or builders) if wanted.source else None
    plain = frozenset({image.registry}) if wanted.plain_http else frozenset()
    registries = Registries(Accounts(file=_docker_config(env), programs=env.get("PATH", "")), plain)
    async with registries.client(image.registry) as registry:
        return await inspected(registry, wanted.image, _trusted(wanted), policy, builders, demand)


def _trusted(wanted: Wanted) -> tuple[Trusted, ...]:
    keys: tuple[Trusted, ...] = tuple(load_public(path) for path in wanted.keys)
    if not wanted.identity or wanted.trusted_root is None:
        return keys
    from pipeline.keyless import open_root

    return (*keys, open_root(wanted.trusted_root).identity(wanted.identity, wanted.issuer))


def _docker_config(env: Mapping[str, str]) -> Path | None:
    """Where docker has it for this person, if it is there."""
    folder = (
        Path(env["DOCKER_CONFIG"]) if env.get("DOCKER_CONFIG") else Path(env.get("HOME") or "/nonexistent") / ".docker"
    )
    path = folder / "config.json"
    return path if path.is_file() else None
