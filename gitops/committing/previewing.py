"""Previews in git: a release goes into its own preview alone, and a preview goes, sleeps or wakes by one commit."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from msgspec.structs import replace

from gitops.committing import bases, decisions, intents
from gitops.committing.clearance import clear
from gitops.committing.deploying import not_deployed
from gitops.committing.edits import Draft
from gitops.committing.idle import IDLE, awake
from gitops.committing.intents import Cause
from gitops.committing.ports import Ports
from gitops.committing.reconfigure import again
from gitops.committing.session import Session, Unit
from gitops.committing.writing import commit_draft, commit_set
from gitops.layout import Place, place, place_of
from gitops.notes import Scale
from gitops.rules import sets
from pipeline import names
from pipeline.errors import Permanent, Refused
from pipeline.events import PreviewChanged, ReleaseReady
from pipeline.previews import GONE, Preview, PreviewRef, is_preview, key_of
from pipeline.records import Decision, Release
from pipeline.store import now


async def release_ready(session: Session, event: ReleaseReady, release: Release, ref: PreviewRef, ports: Ports) -> Unit:
    """Deploy a preview's release, if the preview is still open and wants this one."""
    here = place(release.project, ref.environment, release.service)
    decision = decisions.identity(release.id, here)
    if (event.id, here) in session.done or await session.get(Decision, decision) is not None:
        return Unit()
    mark = session.mark()
    try:
        preview = await _wanted(session, release, ref)
        clearance = await clear(session, release, "", ports)
        cause = Cause(event.id, "push", release.actor, now(), trace=event.trace)
        draft = intents.deploy(awake(await session.situation(here)), release, cause=cause, clearance=clearance)
        unit = await commit_draft(session, here, draft)
        unit.add(await bases.copied(session, ref, preview, cause, ports))
        return unit
    except Permanent as error:
        session.rewind(mark)
        return not_deployed(session, release, here, decision, error)


async def _wanted(session: Session, release: Release, ref: PreviewRef) -> Preview:
    """The head may have moved, or the preview been closed, since the build began. Raises Refused."""
    preview = await session.look(Preview, *ref.key(release.repository))
    if preview is None or preview.state in GONE or preview.environment != ref.environment:
        raise Refused(f"{ref.environment} was closed meanwhile", reason="preview_closed")
    if preview.run != release.run:
        raise Refused(f"{ref.environment} has a newer head", reason="newer_push")
    return preview


async def changed(session: Session, event: PreviewChanged, ports: Ports) -> Unit:
    """What a preview's new state means for git: it goes, its containers end, or they come again."""
    if not is_preview(event.environment) or event.fact not in ("removing", "asleep", "woken"):
        return Unit()
    if (event.id, None) in session.done or await session.get(Decision, event.id) is not None:
        return Unit()
    found = await _places(session, event)
    drafts = await _drafts(session, event, found, ports)
    if not drafts:
        return Unit([session.put(_said(event, "nothing_deployed", "git had nothing of it"))])
    first = next(iter(drafts.values()))
    verb = {"removing": "Remove", "asleep": "Put to sleep", "woken": "Wake"}[event.fact]
    cause = Cause(event.id, "destroy" if event.fact == "removing" else "scale", first.author, now(), _why(event))
    subject = f"{verb} {event.project}/{event.environment} ({sets.listed([one.service for one in drafts])})"
    _, unit = await commit_set(session, sets.joined(drafts, subject, cause, {}))
    unit.changes.append(session.put(_said(event, f"preview_{event.fact}", subject)))
    return unit


async def _places(session: Session, event: PreviewChanged) -> list[Place]:
    folder = f"{names.name(event.project)}/{names.name(event.environment)}"
    if not session.tip:
        return []
    services = await asyncio.to_thread(session.repo.children, session.tip, folder)
    return [here for name in services if (here := place_of(f"{folder}/{name}")) is not None]


async def _drafts(session: Session, event: PreviewChanged, found: Sequence[Place], ports: Ports) -> dict[Place, Draft]:
    drafts: dict[Place, Draft] = {}
    known = await session.look(Preview, *key_of(event.repository, event.number, event.branch))
    ref = known.ref if known else None
    if event.fact != "removing" and not still(event, known):
        return drafts
    for here in found:
        situation = await session.situation(here)
        cause = Cause(sets.member_intent(event.id, here.service), "scale", "enclii", now(), _why(event))
        if event.fact == "removing":
            drafts[here] = intents.destroy(situation, cause=cause)
            continue
        scale = Scale(0, cause.actor, cause.at, IDLE) if event.fact == "asleep" else None
        if (situation.notes.scale is None) == (scale is None) or not situation.target:
            continue
        release = await session.get(Release, situation.target.release)
        if release is not None:
            await clear(session, release, "", ports)
            own = replace(release, preview=release.preview or ref)  # a copy is rendered as the preview's
            drafts[here] = again(situation, situation.noted(scale=scale), own, f"Scale {here}", cause)
    return drafts


def still(event: PreviewChanged, known: Preview | None) -> bool:
    """Whether it sleeps or not as the event says: a word that had to wait may come after the one that undid it."""
    return known is not None and known.state not in GONE and (known.state == "asleep") == (event.fact == "asleep")


def _why(event: PreviewChanged) -> str:
    return " ".join(part for part in (event.reason, event.message) if part)


def _said(event: PreviewChanged, reason: str, message: str) -> Decision:
    return Decision(
        id=event.id, about="command", outcome="accepted", reason=reason, message=message, project=event.project,
        environment=event.environment, repository=event.repository, sha=event.sha, at=now(),
    )  # fmt: skip
