"""What is in an image, by the SBOM that was signed for it."""

from __future__ import annotations

from collections.abc import Sequence

from gitops.gate.evaluation import Package
from gitops.gate.signatures import facts_of
from pipeline import attest
from pipeline.errors import Refused
from pipeline.images import ImageRef
from pipeline.registry import Registry
from pipeline.trust import Trusted
from pipeline.verify import gather_evidence


async def packages(registry: Registry, image: str, keys: Sequence[Trusted]) -> tuple[Package, ...]:
    """The packages. Raises Refused when no SBOM that can be read was signed by ``keys``, Unavailable."""
    facts = facts_of(image, await gather_evidence(registry, ImageRef.parse(image), keys=keys))
    if attest.SBOM not in facts.predicates:
        raise Refused(f"no signed SBOM is known of {image}", reason="no_sbom")
    if facts.packages is None:
        raise Refused(f"the SBOM of {image} lists its packages in a form that cannot be read", reason="bad_sbom")
    return facts.packages
