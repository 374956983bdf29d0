"""What happened to the config branch since the records were last derived: own commits found again, foreign ones read.

Own commits without records are those of a process that died between push and record. Foreign ones are anybody's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from gitops import projectfile
from gitops.committing import decisions, derive, history, snapshot
from gitops.committing.derive import Derived
from gitops.committing.edits import Commit
from gitops.committing.promoting import found_done
from gitops.committing.session import Session, Unit
from gitops.committing.snapshot import Snapshot
from gitops.editing import adopted, elsewhere
from gitops.editing.pinning import repository
from gitops.hold import parse as parse_hold
from gitops.layout import HOLD_FILE, PROJECT_FILE, Place, place_of, project_file
from gitops.projectfile import ProjectFile
from gitops.rules import sets
from pipeline.errors import Invalid
from pipeline.records import Release, Target

NONE: frozenset[str] = frozenset()


@dataclass(frozen=True)
class FollowUp:
    """What Enclii adds in a commit of its own to what a person did by hand."""

    kind: Literal["hold", "resume"]
    commit: Commit
    since: str = ""
    """The release that the hand-made rollback left."""


@dataclass
class Absorbed:
    """Units to record, in order, and what is still to be added to git."""

    units: list[Unit] = field(default_factory=list)
    follow_ups: dict[Place, FollowUp] = field(default_factory=dict)
    deployed: list[tuple[Commit, Place]] = field(default_factory=list)
    """Enclii's own commits, by the places that they speak of."""


async def absorb(session: Session) -> Absorbed:
    """Read everything between the recorded tip and the session's."""
    found = Absorbed()
    tip, since = session.tip, session.since
    if tip == since:
        return found
    chain = await asyncio.to_thread(session.repo.commits, tip, since)
    if chain is None:
        await _leap(session, found, tip, since)
        return found
    before = since
    for commit in chain:
        await _commit(session, found, commit, before)
        before = commit.id
    return found


async def _commit(session: Session, found: Absorbed, commit: Commit, before: str) -> None:
    changed = await asyncio.to_thread(lambda: list(session.repo.changes(before, commit.id)))
    if commit.ours:
        session.done.add((commit.trailers["Intent"], None))
    for place, own in sets.expanded(commit):
        session.done.add((own.trailers["Intent"], place))
        found.follow_ups.pop(place, None)
        found.deployed.append((own, place))
        found.units.append(await _own(session, own, place))
    found.units.append(await found_done(session, commit))
    named = {} if commit.ours else await asyncio.to_thread(elsewhere.touched, session.repo, before, commit.id)
    for path, new in changed:
        if path.endswith("/" + PROJECT_FILE):
            found.units.append(await _project(session, commit, path.partition("/")[0], by_hand=not commit.ours))
        elif not commit.ours and (other := place_of(path)) is not None:
            await _foreign(session, found, commit, other, new, named.pop(other, NONE))
    await _elsewhere(session, found, commit, named)


async def _elsewhere(session: Session, found: Absorbed, commit: Commit, named: Mapping[Place, frozenset[str]]) -> None:
    """Services of which only files outside of their own directory differ: what these say of them now."""
    for place, files in named.items():
        tree = await asyncio.to_thread(session.repo.tree, commit.id, place.path)
        before = await session.target(place)
        if before is None or tree != before.tree or await asyncio.to_thread(_concerns, session, commit, before, files):
            await _foreign(session, found, commit, place, tree, files)


def _concerns(session: Session, commit: Commit, before: Target, files: frozenset[str]) -> bool:
    """Whether an edit of files elsewhere is one of this service: of its image, or of its own workload.

    Many services may have their images in one file of values; who edits one of them has not edited the others.
    """
    place = Place(before.project, before.environment, before.service)
    try:
        after = _read(session, commit.id, place, before.tree, before)
    except Invalid:
        return True
    targets = after.people.targets if after.people else ()
    workload = any(target.kind == "workload" and target.file in files for target in targets)
    return workload or (bool(before.deployment) and after.image != before.image)


async def _leap(session: Session, found: Absorbed, tip: str, since: str) -> None:
    """The old tip is not on the new tip's first-parent line: merged aside, or the branch was rewritten by force."""
    for commit in await asyncio.to_thread(session.repo.ours_between, tip, since):
        session.done.add((commit.trailers["Intent"], None))
        for here, own in sets.expanded(commit):
            session.done.add((own.trailers["Intent"], here))
            found.deployed.append((own, here))
            found.units.append(await _own(session, own, here))
        found.units.append(await found_done(session, commit))
    commit = _stand_in(await asyncio.to_thread(session.repo.commit, tip))
    named = await asyncio.to_thread(elsewhere.touched, session.repo, since, tip)
    for path, new in (await _all_at(session, tip)).items():
        if path.endswith("/" + PROJECT_FILE):
            found.units.append(await _project(session, commit, path.partition("/")[0]))
        elif (place := place_of(path)) is not None:
            known = await session.target(place)
            if new != (known.tree if known else ""):
                await _foreign(session, found, commit, place, new, named.pop(place, NONE))
    await _elsewhere(session, found, commit, named)
    if not await asyncio.to_thread(session.repo.reaches, tip, since):
        found.units.append(Unit([session.put(decisions.rewritten(commit, since))]))


async def _all_at(session: Session, tip: str) -> dict[str, str]:
    """Path → id of all that the tip has, and "" for what the records still have."""
    there = dict(await asyncio.to_thread(lambda: list(session.repo.changes("", tip))))
    for target in await session.targets():
        if target.deployment:
            there.setdefault(Place(target.project, target.environment, target.service).path, "")
    for project in await session.projects():
        there.setdefault(project_file(project), "")
    return there


def _stand_in(commit: Commit) -> Commit:
    """The commit as a stand-in for everything that changed with it, own or not."""
    return Commit(commit.id, commit.parents, commit.author, commit.subject, commit.at, {})


async def _own(session: Session, commit: Commit, place: Place) -> Unit:
    tree, hold = await asyncio.to_thread(_directory, session, commit.id, place)
    before = await session.target(place)
    derived = derive.of_own(
        commit, place, before=before, tree=tree, hold=parse_hold(hold) if hold is not None else None
    )
    return await session.apply(derived, place, fresh=False)


def _directory(session: Session, commit: str, place: Place) -> tuple[str, bytes | None]:
    tree = session.repo.tree(commit, place.path)
    return tree, session.repo.read(commit, f"{place.path}/{HOLD_FILE}")


async def _foreign(
    session: Session, found: Absorbed, commit: Commit, place: Place, tree: str, files: frozenset[str]
) -> None:
    before = await session.target(place)
    if before is None and await asyncio.to_thread(session.repo.read, commit.id, project_file(place.project)) is None:
        return  # a person's directories of the same depth, in nobody's project
    try:
        after = await asyncio.to_thread(_read, session, commit.id, place, tree, before)
    except Invalid as error:
        decision = decisions.unreadable(commit, place, error)
        found.units.append(Unit([session.put(decision)]))
        return
    after = await _checked(session, place, after)
    derived, follow_up = await _classified(session, commit, place, before, after, files)
    found.units.append(await session.apply(derived, place, fresh=False))
    found.follow_ups.pop(place, None)
    if follow_up is not None:
        found.follow_ups[place] = follow_up


def _read(session: Session, commit: str, place: Place, tree: str, before: Target | None) -> Snapshot:
    if not tree:
        return Snapshot()
    files = session.repo.files(tree)
    images = repository(before.image) if before else ""
    people = adopted.read(place.path, files, partial(session.repo.read, commit), repository=images)
    return snapshot.read(tree, files, people=people)


async def _checked(session: Session, place: Place, after: Snapshot) -> Snapshot:
    """An image that is not the annotated release's is of no known release, whatever the annotation says.

    Where nothing is annotated because the files are a person's, the release is the one that had this image there.
    """
    if after.people is not None:
        deployed = await session.deployments(place)
        known = next((one for one in reversed(deployed) if one.image == after.image and one.config_commit), None)
        return replace(after, release=known.release, sha=known.sha) if known else after
    if not after.release:
        return after
    release = await session.get(Release, after.release)
    if release is not None and release.image == after.image:
        return after
    return Snapshot(after.tree, after.image, "", "", after.hold)


async def _classified(
    session: Session, commit: Commit, place: Place, before: Target | None, after: Snapshot, files: frozenset[str]
) -> tuple[Derived, FollowUp | None]:
    if after.people is not None and (before is None or not before.deployment):
        # Nothing was deployed by Enclii yet: people go on as they did before it came.
        return derive.of_foreign(commit, place, kind="nothing", before=before, after=after), None
    deployments = await session.deployments(place) if before is not None and after.tree else []
    touched = files | await asyncio.to_thread(_touched, session, before.tree if before else "", after.tree)
    images = {one.image for one in deployments if one.config_commit}
    images |= {after.people.image} if after.people else set()
    kind = history.classify(before, after, touched=touched, known_images=images)
    derived = derive.of_foreign(commit, place, kind=kind, before=before, after=after)
    if kind == "rollback" and before is not None:
        to = next((one for one in reversed(deployments) if one.image == after.image and one.config_commit), None)
        taken = history.undone(deployments, target=to, current=before) if to else ()
        derived = Derived(derived.target, derived.deployment, tuple(one.id for one in taken), decision=derived.decision)
        return derived, FollowUp("hold", commit, before.hold_from or before.release) if after.hold is None else None
    if kind == "resume" and (after.hold is not None or derived.target.held_release):
        return derived, FollowUp("resume", commit)
    return derived, None


def _touched(session: Session, old: str, new: str) -> set[str]:
    before = session.repo.names(old) if session.repo.has(old) else {}
    after = session.repo.names(new) if new else {}
    return {name for name in {*before, *after} if before.get(name) != after.get(name)}


async def _project(session: Session, commit: Commit, slug: str, *, by_hand: bool = False) -> Unit:
    data = await asyncio.to_thread(session.repo.read, commit.id, f"{slug}/{PROJECT_FILE}")
    try:
        project_file(slug)
        parsed = projectfile.parse(data, project=slug) if data is not None else ProjectFile()
        unit = await session.project_unit(slug, parsed, at=commit.at)
    except Invalid as error:
        return Unit([session.put(decisions.broken_project(commit, slug, error))])
    if by_hand:
        unit.changes.append(session.put(decisions.of_project(commit, slug)))
    return unit
