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


def otherwise(found: PreviewService, wanted: Deployment | None, live: Live | None) -> PreviewService:
    """The service as somebody has it in git who is not Enclii's preview: another release, or none."""
    if wanted is not None:
        return running(found, wanted, live, wanted.sha)
    why = "somebody took it out of the config repository: /preview restart brings it back"
    return replace(found, status="failed", reason="removed_by_hand", message=why, address="", release="")


def copied(service: PreviewService, live: Live | None, wanted: Deployment | None) -> PreviewService:
    """What the base environment has, once it is in git: it comes with the first image of the preview's own."""
    found = replace(service, status="building", reason="", message="")
    if live is not None and live.deployment:
        found = replace(found, address=live.address, release=live.release)
    return running(found, wanted, live, wanted.sha) if wanted is not None else found


def told(services: list[PreviewService]) -> tuple[PreviewService, ...]:
    """Copies come with the first image of the preview's own: one that is not there then was refused, or none came."""
    own = {one.status for one in services if not one.copied}
    if own & {"committed", "running", "degraded"}:
        reason, why = "copy_refused", "the base environment's release may not go out: enclii why says more"
    elif own == {"failed"}:
        reason, why = "nothing_built", "it comes with the first image of the preview's own"
    else:
        return tuple(services)
    return tuple(
        replace(one, status="failed", reason=reason, message=why) if one.copied and one.status == "building" else one
        for one in services
    )


def waits(one: Preview) -> bool:
    """Whether its state is another head's, which waits or cannot be built, and not what runs meanwhile."""
    return one.state == "waiting" or (one.state == "failed" and bool(one.head))


def judged(one: Preview) -> Preview:
    """The state that follows from its services'."""
    states = {service.status for service in one.services}
    if states & {"building", "committed", "asleep"}:
        return replace(one, state="building")
    bad = next((service for service in one.services if service.status in ("failed", "degraded")), None)
    if bad is not None:
        return replace(one, state="failed", reason=bad.reason, message=f"{bad.name}: {bad.message}")
    return replace(one, state="ready", reason="", message="")
