"""What somebody wants, as the commit that would make it true: tree edits and a message, from values alone.

An intent is drafted again on every new tip; the text of an earlier draft is never carried over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import formataddr
from typing import Any

from gitops import hold as holds
from gitops import notes, projectfile, trailers
from gitops.committing.edits import Change, Draft, Edit, author
from gitops.committing.ports import Clearance
from gitops.editing.adopted import NOTHING, Adopted, Former, deploys, edits, restores
from gitops.hold import Hold
from gitops.layout import (
    DEPLOYMENT_FILE,
    HOLD_FILE,
    NOTES,
    ORPHANED_FILE,
    PROJECT_FILE,
    SCALE_FILE,
    TARGETS_FILE,
    Place,
)
from gitops.notes import Notes, Orphaned
from gitops.render import render
from gitops.rendering.surroundings import Surroundings
from pipeline.errors import Invalid, Refused
from pipeline.events import LinkRequested
from pipeline.previews import is_preview
from pipeline.records import Deployment, Release, Target


@dataclass(frozen=True)
class Cause:
    """Why a commit is made: the event that asked for it (its identity), who asked, when, and in what words."""

    intent: str
    via: str
    actor: str
    at: str
    why: str = ""
    trace: str = ""


@dataclass(frozen=True)
class Situation:
    """One directory as the tip has it: its file names, those with Enclii's header, and what the records say of it."""

    place: Place
    target: Target | None = None
    names: frozenset[str] = frozenset()
    owned: frozenset[str] = frozenset()
    hold: Hold | None = None
    around: Surroundings = field(default_factory=Surroundings)
    people: Adopted | Invalid | None = None
    """What of the files belongs to people and is edited, or why that cannot be told."""
    notes: Notes = field(default_factory=Notes)
    unreadable: str = ""
    """What is wrong with the notes."""

    def adopted(self) -> Adopted | None:
        """What is edited here; None where all is rendered. Raises Invalid."""
        if isinstance(self.people, Invalid):
            raise self.people
        return self.people

    def noted(self, **changes: Any) -> Situation:
        """The same place with other notes."""
        new = replace(self.notes, **changes)
        around = new.around(self.around)
        if is_preview(self.place.environment):
            around = replace(around, secrets=self.around.secrets)  # those of all previews, not of this one
        return replace(self, notes=new, around=around)

    def deployed(self) -> Target:
        """What git holds. Raises Refused when that is nothing."""
        if self.target is None or not self.target.deployment:
            raise Refused(f"nothing is deployed of {self.place}", reason="nothing_deployed")
        return self.target

    def expect(self, deployment: str) -> None:
        """Raises Refused when the person saw another deployment than the newest."""
        if deployment and self.deployed().deployment != deployment:
            raise Refused("somebody else was faster: another deployment is the newest", reason="moved_meanwhile")


def rendered(here: Situation, release: Release) -> dict[str, bytes]:
    """The files of ``release`` that are written here. Raises Refused for one that a person keeps, Invalid."""
    if here.unreadable:
        raise Invalid(here.unreadable, reason="bad_notes")
    people = here.adopted()
    files = render(release, here.place, here.around) if people is None or here.owned else {}
    if people is not None:
        return {name: data for name, data in files.items() if name in here.owned}
    if taken := sorted(name for name in files if name in here.names and name not in here.owned):
        raise Refused(
            f"{', '.join(taken)} has no header of Enclii's and belongs to a person; it is not written over. "
            "`enclii adopt` has it edited instead",
            reason="manifest_not_ours",
        )
    return files


def deploy(
    here: Situation,
    release: Release,
    *,
    cause: Cause,
    clearance: Clearance | None,
    forced: bool = False,
    override: str = "",
) -> Draft:
    """The commit that puts ``release`` there and takes a hold away; ``override``: why a freeze did not count.

    Raises Refused.
    """
    if (release.preview.environment if release.preview else "") != (
        here.place.environment if is_preview(here.place.environment) else ""
    ):
        raise Refused(
            f"{release.id} and {here.place} are no match: what a preview runs is signed by another key and goes nowhere"
            " else",
            reason="preview_release",
        )
    people = here.adopted()
    files = rendered(here, release)
    mark = here.notes.mark()
    gone = (here.owned - set(files)) | ({HOLD_FILE} if here.hold is not None else set())
    gone |= (here.names & {ORPHANED_FILE}) - mark.keys()
    gone |= here.names & ({SCALE_FILE} if here.notes.scale is None else set())
    extra = {
        **of_release(release),
        "Verdict": clearance.verdict.provenance if clearance else "",
        "Summary": clearance.summary if clearance else "",
        "Forced": "diverged" if forced else "",
        "Resumes": "yes" if here.hold is not None else "",
        "Override": override,
    }
    subject = f"Deploy {here.place.project}/{here.place.service} v{release.number} to {here.place.environment}"
    edit = Edit(here.place.path, write={**files, **mark}, remove=frozenset(gone))
    changes = deploys(people, release.image, f"v{release.number}") if people is not None else {}
    return draft(here.place, edit, subject, cause, extra, reference=reference_to(release), changes=changes)


def roll_back(
    here: Situation, to: Deployment, *, tree: str, undone: Iterable[Deployment], cause: Cause, hold: bool,
    former: Former = NOTHING, automatic: str = "",
) -> Draft:  # fmt: skip
    """The commit that brings back the directory of an earlier deployment, image and configuration, and holds it.

    Of files that belong to people it brings back the image, and keeps what they wrote since. What was noted since is
    kept: no secret is forgotten, and no count shrinks.
    """
    current = here.deployed()
    kept = here.hold
    if kept is None and hold:
        kept = Hold(cause.actor, cause.at, trailers.one_line(cause.why), current.release)
    write = {HOLD_FILE: holds.render(kept)} if kept is not None else {}
    tag = to.release.rpartition(".")[2] or "rolled-back"
    changes: Mapping[str, Change] = {}
    back = notes.rolled_back(former.notes, here.notes)
    write |= back.files()
    if DEPLOYMENT_FILE in former.owned:
        write[DEPLOYMENT_FILE] = notes.with_count(former.owned[DEPLOYMENT_FILE], back.scale)
    edit = Edit(here.place.path, base=tree, write=write, remove=NOTES - set(write))
    if (people := here.adopted()) is not None:
        changes = restores(people, former.people, to.image, tag)
        write = {**former.owned, **write}
        edit = Edit(here.place.path, write=write, remove=(here.owned | NOTES) - {TARGETS_FILE, *write})
    reverts = " ".join(deployment.config_commit for deployment in undone) or current.config_commit
    extra = {"Release": to.release, "Image": to.image, "Commit": to.sha, "Run": to.run, "Reverts": reverts}
    extra |= {"Automatic": automatic, "Left": current.release if automatic else ""}
    name = to.release.rpartition(".")[2] or to.image.rpartition("@")[2][:19]
    subject = f"Revert {here.place.project}/{here.place.service} in {here.place.environment} to {name}"
    return draft(here.place, edit, subject, cause, extra, reference={"sha": to.sha}, changes=changes)


def hold(here: Situation, *, cause: Cause, since: str | None = None) -> Draft:
    """The commit that adds ``hold.yaml``. Raises Refused when it is there."""
    current = here.deployed()
    if here.hold is not None:
        raise Refused(f"{here.place} is held already", reason="already_held")
    held = Hold(cause.actor, cause.at, trailers.one_line(cause.why), current.release if since is None else since)
    subject = f"Hold {here.place.project}/{here.place.service} in {here.place.environment}"
    return draft(here.place, Edit(here.place.path, write={HOLD_FILE: holds.render(held)}), subject, cause)


def resume(here: Situation, *, cause: Cause) -> Draft:
    """The commit that takes ``hold.yaml`` away and changes nothing else."""
    subject = f"Resume {here.place.project}/{here.place.service} in {here.place.environment}"
    return draft(here.place, Edit(here.place.path, remove=frozenset({HOLD_FILE})), subject, cause, {"Resumes": "yes"})


def orphan(here: Situation, mark: Orphaned, *, cause: Cause) -> Draft:
    """The commit that says that ``enclii.yaml`` has the service no more."""
    subject = f"Mark {here.place.project}/{here.place.service} in {here.place.environment} as orphaned"
    edit = Edit(here.place.path, write=Notes(orphaned=mark).mark())
    return draft(here.place, edit, subject, cause, {"Commit": mark.commit}, reference={"sha": mark.commit})


def unorphan(here: Situation, commit: str, *, cause: Cause) -> Draft:
    """The commit that takes that back: the service is in ``enclii.yaml`` again."""
    subject = f"Unmark {here.place.project}/{here.place.service} in {here.place.environment}: it is declared again"
    edit = Edit(here.place.path, remove=frozenset({ORPHANED_FILE}))
    return draft(here.place, edit, subject, cause, {"Commit": commit}, reference={"sha": commit})


def adopt(here: Situation, targets: bytes, manifests: Mapping[str, bytes] | None = None, *, cause: Cause) -> Draft:
    """The commit that declares which values of a person's files Enclii edits, and changes nothing else.

    ``manifests``: files that are to become a person's here, since what they describe runs already.
    """
    subject = f"Adopt {here.place.project}/{here.place.service} in {here.place.environment}"
    return draft(here.place, Edit(here.place.path, write={**(manifests or {}), TARGETS_FILE: targets}), subject, cause)


def destroy(here: Situation, *, cause: Cause) -> Draft:
    """The commit that deletes the directory. Raises Refused when there is none."""
    if not here.names:
        raise Refused(f"there is no {here.place}", reason="nothing_deployed")
    subject = f"Remove {here.place.project}/{here.place.service} from {here.place.environment}"
    return draft(here.place, Edit(here.place.path, delete=True), subject, cause)


def link(event: LinkRequested, data: bytes | None, *, cause: Cause) -> Draft | None:
    """The commit that writes ``project.yaml``; None when it says so already. Raises Invalid."""
    written = projectfile.linked(data, event)
    if written == data:
        return None
    edit = Edit(event.project, write={PROJECT_FILE: written})
    subject = f"Link {event.name} to {event.project}"
    return _message(edit, subject, cause, {"Project": event.project, "Source": event.url})


def of_release(release: Release) -> dict[str, str]:
    """The trailers that name a release."""
    return {
        "Release": release.id,
        "Image": release.image,
        "Source": release.source_url,
        "Commit": release.sha,
        "Run": release.run,
    }


def reference_to(release: Release) -> dict[str, str]:
    """The application's commit as Argo CD shows it; the author in the form of a mail header, as it asks for."""
    return {
        "author": formataddr(author(release.actor)) if release.actor else "",
        "sha": release.sha,
        "subject": release.subject_line,
        "repourl": release.source_url,
    }


def draft(
    place: Place, edit: Edit, subject: str, cause: Cause, extra: Mapping[str, str] | None = None,
    *, reference: Mapping[str, str] | None = None, changes: Mapping[str, Change] | None = None,
) -> Draft:  # fmt: skip
    """One commit at one place."""
    own, others = edits(edit, changes or {})
    where = {"Project": place.project, "Environment": place.environment, "Service": place.service}
    return replace(_message(own, subject, cause, {**where, **(extra or {})}, reference or {}), others=others)


def _message(
    edit: Edit, subject: str, cause: Cause, extra: Mapping[str, str], reference: Mapping[str, str] | None = None
) -> Draft:
    own = {**extra, "Trace": cause.trace, "Via": cause.via, "Intent": cause.intent}
    message = trailers.render(subject, own, why=cause.why, reference=reference or {})
    return Draft(edit, message, cause.actor, cause.at)
