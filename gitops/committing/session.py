"""One try of the committer on one tip: the records as they will be, overlaid on those that are stored.

A lost push throws the whole session away; one event that fails rewinds it to where that event began.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from msgspec.structs import replace

from gitops import hold as holds
from gitops import notes, projectfile
from gitops.committing.derive import Derived, wish_id
from gitops.committing.edits import Commit, Draft
from gitops.committing.intents import Situation
from gitops.committing.sharing import shared
from gitops.editing import adopted
from gitops.editing.adopted import Adopted, Former
from gitops.editing.pinning import repository
from gitops.gate.policyfile import POLICY_FILE, Policy, combined
from gitops.git.configrepo import ConfigRepo
from gitops.hold import Hold
from gitops.layout import HOLD_FILE, NOTES, ORPHANED_FILE, Place, project_file
from gitops.projectfile import ProjectFile
from gitops.render import is_ours
from gitops.rendering.surroundings import Surroundings
from pipeline.domains import Domains
from pipeline.errors import Invalid, Refused
from pipeline.events import ConfigMoved, Event
from pipeline.previews import SCOPE, is_preview
from pipeline.promotions import OPEN, Promotion
from pipeline.records import ConfigTip, Deployment, DeploymentStatus, Project, Record, Release, Repository, Target
from pipeline.store import Change, Step, Store, Stored, now

R = TypeVar("R", bound=Record)


@dataclass
class Unit:
    """Records and events that must become true together."""

    changes: list[Change] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def add(self, other: Unit) -> None:
        self.changes += other.changes
        self.events += other.events

    def step(self) -> Step:
        """As one atomic step; of several versions of a record the last is written, expecting what was first read.

        Of several hints that the branch moved the last one says all.
        """
        merged: dict[str, Change] = {}
        for change in self.changes:
            subject = change.record.subject
            first = merged.get(subject)
            merged[subject] = Change(change.record, first.seq) if first else change
        moves = [event for event in self.events if isinstance(event, ConfigMoved)]
        events = [event for event in self.events if not isinstance(event, ConfigMoved)]
        return Step(tuple(merged.values()), (*events, *moves[-1:]))


@dataclass
class _Overlay:
    tip: str
    records: dict[str, Record | None] = field(default_factory=dict)
    seqs: dict[str, int] = field(default_factory=dict)
    proposals: dict[str, str] = field(default_factory=dict)

    def copy(self) -> _Overlay:
        return _Overlay(self.tip, dict(self.records), dict(self.seqs), dict(self.proposals))


class Session:
    """What git and the store say together, as of ``tip``."""

    def __init__(self, repo: ConfigRepo, store: Store, *, tip: str, stored: Stored[ConfigTip] | None):
        self.repo, self._store = repo, store
        self.since = stored.record.commit if stored else ""
        self._seq = stored.seq if stored else 0
        self.done: set[tuple[str, Place | None]] = set()
        self._began = tip
        self._policies: dict[str, Policy] = {}
        self._promotions: frozenset[str] | None = None
        self._looked: dict[str, Record | None] = {}
        self._overlay = _Overlay(tip)
        subject = ConfigTip.subject_of("main")
        self._overlay.seqs[subject] = self._seq
        self._overlay.records[subject] = stored.record if stored else None

    @property
    def tip(self) -> str:
        return self._overlay.tip

    @property
    def proposals(self) -> dict[str, str]:
        """Branch → the commit that it is to have, "" when it is to go."""
        return self._overlay.proposals

    def propose(self, branch: str, commit: str) -> None:
        """Have a branch beside the config branch: a proposal to be merged."""
        self._overlay.proposals[branch] = commit

    def mark(self) -> _Overlay:
        """Where to rewind to."""
        return self._overlay.copy()

    def rewind(self, mark: _Overlay) -> None:
        self._overlay = mark

    async def get(self, kind: type[R], *key: str) -> R | None:
        """A record as it will be after all that this session did."""
        subject = kind.subject_of(*key)
        if subject not in self._overlay.records:
            stored = await self._store.get(kind, *key)
            self._overlay.records[subject] = stored.record if stored else None
            self._overlay.seqs[subject] = stored.seq if stored else 0
        found = self._overlay.records[subject]
        assert found is None or isinstance(found, kind)
        return found

    async def look(self, kind: type[R], *key: str) -> R | None:
        """A record of somebody else's, asked for once: that it moves on is no conflict."""
        subject = kind.subject_of(*key)
        if subject not in self._looked:
            stored = await self._store.get(kind, *key)
            self._looked[subject] = stored.record if stored else None
        found = self._looked[subject]
        assert found is None or isinstance(found, kind)
        return found

    def know(self, stored: Iterable[Stored[Release]]) -> None:
        """Take over releases that were read already; nothing ever changes one."""
        self._overlay.records.update({one.record.subject: one.record for one in stored})

    def put(self, record: Record) -> Change:
        """The change that writes ``record``: the first in a session expects what was read, if it was."""
        subject = record.subject
        self._overlay.records[subject] = record
        return Change(record, self._overlay.seqs.pop(subject, None))

    async def target(self, place: Place) -> Target | None:
        return await self.get(Target, *place)

    async def released(self, place: Place) -> Release | None:
        """The release that git holds there, to look at."""
        target = await self.look(Target, *place)
        return await self.look(Release, target.release) if target and target.release else None

    async def targets(self) -> list[Target]:
        """Every target that was ever stored."""
        return await self._store.all(Target)

    async def projects(self) -> list[str]:
        """Every project that was ever stored."""
        return [project.slug for project in await self._store.all(Project)]

    async def promotions(self) -> list[Promotion]:
        """Every promotion that something may still come of, oldest first."""
        if self._promotions is None:
            stored = await self._store.all(Promotion)
            self._promotions = frozenset(one.id for one in stored if one.status in OPEN)
        fresh = {one.id for one in self._overlay.records.values() if isinstance(one, Promotion)}
        found = [await self.get(Promotion, one) for one in {*self._promotions, *fresh}]
        return sorted((one for one in found if one and one.status in OPEN), key=lambda one: (one.created_at, one.id))

    async def deployments(self, place: Place) -> list[Deployment]:
        """The newest deployments that git had of one place, newest last, with those of this session."""
        target = await self.target(place)
        known = await asyncio.gather(*(self._seen(one) for one in (target.recent if target else ())))
        return [one for one in known if one is not None]

    async def _seen(self, deployment: str) -> Deployment | None:
        """A deployment to look at: unlike with ``get``, that its health moves on is no conflict."""
        known = self._overlay.records.get(Deployment.subject_of(deployment))
        if isinstance(known, Deployment):
            return known
        stored = await self._store.get(Deployment, deployment)
        return stored.record if stored else None

    async def situation(self, place: Place) -> Situation:
        """One directory at the tip, and what ``project.yaml`` says of its environment (nothing when it is broken)."""
        target = await self.target(place)
        given = Surroundings()
        with contextlib.suppress(Invalid):  # whoever deploys asks for the project first, and is told there
            project = await self.project(place.project)
            for one in project.environments:
                if one.name == place.environment:
                    given = Surroundings(one.domains, pull_secret=one.pull_secret)
            if is_preview(place.environment):
                entrance = Domains(tls=project.previews.tls, entrance=project.previews.entrance)
                given = Surroundings(entrance, shared=await shared(self.released, project, place.project))
        return await asyncio.to_thread(self._situation, place, target, given)

    def _situation(self, place: Place, target: Target | None, given: Surroundings) -> Situation:
        tree = self.repo.tree(self.tip, place.path)
        if not tree:
            return Situation(place, target, around=self._shared(place, notes.Notes()).around(given))
        files = self.repo.files(tree)
        hold = holds.parse(files[HOLD_FILE]) if HOLD_FILE in files else None
        owned = frozenset(name for name, data in files.items() if is_ours(data))
        people = self._people(place, files, self.tip, repository(target.image) if target else "")
        noted, wrong = _notes(files)
        around = self._shared(place, noted).around(given)
        return Situation(place, target, frozenset(files), owned, hold, around, people, noted, wrong)

    def _shared(self, place: Place, noted: notes.Notes) -> notes.Notes:
        """With the secrets that all previews of the service share, where this is one."""
        if not is_preview(place.environment):
            return noted
        tree = self.repo.tree(self.tip, place._replace(environment=SCOPE).path)
        shared = _notes(self.repo.files(tree))[0].secrets if tree else {}
        return dataclasses.replace(noted, secrets=dict(shared))

    def _people(self, place: Place, files: Mapping[str, bytes], commit: str, images: str) -> Adopted | Invalid | None:
        try:
            return adopted.read(place.path, files, partial(self.repo.read, commit), repository=images)
        except Invalid as error:
            return error

    async def former(self, here: Situation, commit: str) -> Former:
        """One directory as ``commit`` had it."""
        return await asyncio.to_thread(self._former, here, commit)

    def _former(self, here: Situation, commit: str) -> Former:
        files = self.repo.files(self.repo.tree(commit, here.place.path))
        people = self._people(here.place, files, commit, repository(here.target.image) if here.target else "")
        owned = {name: data for name, data in files.items() if is_ours(data)}
        return Former(owned, people if isinstance(people, Adopted) else None, _notes(files)[0])

    async def project(self, slug: str) -> ProjectFile:
        """``project.yaml`` at the tip; empty when there is none. Raises Invalid."""
        data = await asyncio.to_thread(self.repo.read, self.tip, project_file(slug))
        return projectfile.parse(data, project=slug) if data is not None else ProjectFile()

    async def policy(self, project: str) -> Policy:
        """The policy of a project, as the branch had it when this session began. Raises Invalid."""
        if project not in self._policies:
            paths = (POLICY_FILE, f"{project}/{POLICY_FILE}")
            files = [
                await asyncio.to_thread(self.repo.read, self._began, path) if self._began else None for path in paths
            ]
            self._policies[project] = combined(*files)
        return self._policies[project]

    def _policy_files(self, project: str) -> tuple[bytes | None, bytes | None]:
        if not self._began:
            return None, None
        return self.repo.read(self._began, POLICY_FILE), self.repo.read(self._began, f"{project}/{POLICY_FILE}")

    async def write(self, draft: Draft) -> tuple[Commit, str, Hold | None]:
        """Commit a draft: the commit, the new tree, its hold. Raises Refused when nothing would change."""
        return await asyncio.to_thread(self._write, draft)

    def _write(self, draft: Draft) -> tuple[Commit, str, Hold | None]:
        ((commit, tree),) = self.repo.write(self.tip, [draft])
        if self.tip and self.repo.same(commit, self.tip):
            raise Refused("the config repository says exactly that already", reason="already_deployed")
        self._overlay.tip = commit
        return self.repo.commit(commit), tree, self.repo.hold(tree)

    async def apply(self, derived: Derived, place: Place, *, fresh: bool) -> Unit:
        """The records of one commit at one place; ``fresh`` when the commit was written by this session."""
        unit = Unit()
        derived = await asyncio.to_thread(self._with_notes, derived)
        if derived.deployment is not None and not fresh and not self.since:
            derived = dataclasses.replace(derived, deployment=replace(derived.deployment, recovered=True))
        waited = await self.target(place)
        if (new := derived.deployment) is not None and (fresh or await self.get(Deployment, new.id) is None):
            unit.add(await self._overtaken(waited.deployment if waited else ""))
            unit.changes.append(Change(new, 0))
            self._overlay.records[new.subject] = new
            self._overlay.seqs.pop(new.subject, None)
            if derived.event is not None:
                unit.events.append(derived.event)
        for one in derived.undone:
            unit.add(await self._ended(one, "rolled_back"))
        if derived.removed:
            unit.add(await self._ended(derived.removed, "removed"))
        if waited is not None and waited.held_release and waited.held_release != derived.target.held_release:
            unit.add(await self._ended(wish_id(waited.held_release, place), "replaced"))
        unit.changes.append(self.put(derived.target))
        if derived.decision is not None:
            unit.changes.append(self.put(derived.decision))
        return unit

    async def _overtaken(self, deployment: str) -> Unit:
        """The end of a deployment that was not live yet when the next one came."""
        found = await self._seen(deployment) if deployment else None
        waits = found is not None and found.status in ("pending", "progressing")
        return await self._ended(deployment, "replaced") if waits else Unit()

    async def unwished(self, release: str, place: Place) -> Unit:
        """The end of a release's waiting deployment, which git has now."""
        return await self._ended(wish_id(release, place), "replaced")

    def _with_notes(self, derived: Derived) -> Derived:
        """With the secrets' versions, the count and the mark that lie beside the manifests."""
        tree = derived.target.tree
        there = self.repo.names(tree).keys() & NOTES - {HOLD_FILE} if tree else frozenset()
        found = _notes(self.repo.files(tree))[0] if there else notes.Notes()
        replicas = found.scale.replicas if found.scale else None
        orphaned = ORPHANED_FILE in there
        target = replace(derived.target, secrets=dict(found.secrets), scaled=replicas, orphaned=orphaned)
        new = derived.deployment
        deployment = replace(new, secrets=found.versions) if new is not None else None
        return dataclasses.replace(derived, target=target, deployment=deployment)

    async def _ended(self, deployment: str, status: DeploymentStatus) -> Unit:
        found = await self.get(Deployment, deployment)
        if found is None or found.status in (status, "removed"):
            return Unit()
        return Unit([self.put(replace(found, status=status, finished_at=now()))])

    async def project_unit(self, slug: str, parsed: ProjectFile, *, at: str) -> Unit:
        """The records that ``project.yaml`` stands for. Raises Invalid for a repository of another project."""
        old = await self.get(Project, slug)
        for wanted in parsed.repositories:
            taken = await self.get(Repository, wanted.id)
            if taken is not None and taken.project not in ("", slug):
                raise Invalid(f"{wanted.id} belongs to the project {taken.project}", reason="repository_taken")
        unit = Unit([self.put(wanted) for wanted in parsed.repositories])
        kept = tuple(wanted.id for wanted in parsed.repositories)
        for gone in set(old.repositories if old else ()) - set(kept):
            left = await self.get(Repository, gone)
            if left is not None and left.project == slug:
                unit.changes.append(self.put(replace(left, project="")))
        unit.changes.append(
            self.put(
                Project(
                    slug=slug,
                    environments=parsed.environments,
                    repositories=kept,
                    roles=dict(parsed.roles),
                    chatops=dict(parsed.chatops),
                    previews=parsed.previews,
                    notifications=dict(parsed.notifications),
                    created_at=old.created_at if old else at,
                )
            )
        )
        return unit

    def tip_unit(self) -> Unit:
        """The mark up to which every record was derived, and the hint that the branch moved."""
        moved = ConfigMoved(id=f"committer/{self._seq}/{self.tip}", commit=self.tip, by="committer", at=now())
        return Unit([self.put(ConfigTip(commit=self.tip, at=now()))], [moved])


def _notes(files: Mapping[str, bytes]) -> tuple[notes.Notes, str]:
    """The notes, or none and what is wrong with them."""
    try:
        return notes.read(files), ""
    except Invalid as error:
        return notes.Notes(), error.message
