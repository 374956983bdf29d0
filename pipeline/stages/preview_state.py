"""The state of a preview and of its services, as other records have them; pure."""

from __future__ import annotations

from msgspec.structs import replace

from pipeline.previews import Preview, PreviewService
from pipeline.records import Deployment, Live


def running(found: PreviewService, wanted: Deployment, live: Live | None, sha: str) -> PreviewService:
    """The service as its deployment stands."""
    if wanted.status in ("failed", "degraded"):
        status = "failed" if wanted.status == "failed" else "degraded"
        return replace(found, status=status, reason=wanted.reason, message=wanted.message)
    if live is not None and live.deployment == wanted.id and live.status == "running":
        return replace(found, status="running" if live.desired else "asleep", sha=sha)
    return replace(found, status="committed")


def copied(service: PreviewService, live: Live | None, wanted: Deployment | None) -> PreviewService:
    """What the base environment has, once it is in git: it comes with the first image of the preview's own."""
    found = replace(service, status="building", reason="", message="")
    if live is not None and live.deployment:
        found = replace(found, address=live.address, release=live.release)
    return running(found, wanted, live, wanted.sha) if wanted is not None else found


def told(services: list[PreviewService]) -> tuple[PreviewService, ...]:
    """Copies come with the first image of the preview's own: one that is not there then was refused."""
    own = any(one.status in ("committed", "running", "degraded") for one in services if not one.copied)
    why = "the base environment's release may not go out: enclii why says more"
    return tuple(
        replace(one, status="failed", reason="copy_refused", message=why)
        if own and one.copied and one.status == "building" else one
        for one in services
    )  # fmt: skip


def judged(one: Preview) -> Preview:
    """The state that follows from its services'."""
    states = {service.status for service in one.services}
    if states & {"building", "committed", "asleep"}:
        return replace(one, state="building")
    bad = next((service for service in one.services if service.status in ("failed", "degraded")), None)
    if bad is not None:
        return replace(one, state="failed", reason=bad.reason, message=f"{bad.name}: {bad.message}")
    return replace(one, state="ready", reason="", message="")
