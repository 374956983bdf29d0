"""``enclii adopt``: takes a directory of a person's files under management by adding one file, and touches no other.

Asked for a plan it writes nothing and says what it would edit; asked to do it, it does what was seen or refuses.
"""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import Mapping

from gitops.committing import intents
from gitops.committing.intents import Cause, Situation
from gitops.committing.session import Session, Unit
from gitops.committing.writing import commit_draft
from gitops.editing import adopt, targetfile
from gitops.editing.adopt import Candidate, Found
from gitops.editing.targetfile import TargetFile
from gitops.layout import DEPLOYMENT_FILE, TARGETS_FILE, Place, place
from pipeline import names
from pipeline.errors import Invalid, NotFound, Refused
from pipeline.events import AdoptRequested
from pipeline.names import token
from pipeline.records import Decision
from pipeline.store import now

PATH_LIMIT = 1_000


async def fulfil(session: Session, event: AdoptRequested) -> Unit:
    """Plan or make an adoption. Raises Refused, Invalid, NotFound."""
    here = place(event.project, event.environment, event.service)
    if (event.id, here) in session.done or await session.get(Decision, event.id) is not None:
        return Unit()
    situation = await session.situation(here)
    await _free(session, situation)
    files = await _files(session, event, situation)
    found = adopt.look(of_environment(files, here.environment))
    chosen = adopt.choose(found, service=here.service, wanted=event.targets)
    said = plan(here, chosen, found)
    if event.manifest:  # what runs may change between the plan and the yes
        said += f"\n{here.path}/{DEPLOYMENT_FILE} is written as {event.running} runs now ({token(event.manifest)})"
    if event.plan:
        return Unit([session.put(_planned(event, said))])
    if event.expected not in ("", token(said)):
        raise Refused("the files are others than those that were shown; look again", reason="moved_meanwhile")
    written = targetfile.render(TargetFile(tuple(one.target for one in chosen), chosen[0].image), here.path)
    fresh = {DEPLOYMENT_FILE: event.manifest.encode()} if event.manifest else {}
    cause = Cause(event.id, "adopt", event.actor, now(), event.why, event.trace)
    return await commit_draft(session, here, intents.adopt(situation, written, fresh, cause=cause))


async def _files(session: Session, event: AdoptRequested, here: Situation) -> dict[str, bytes]:
    """What may name the image: the files at the path, or the one that is to be written. Raises NotFound, Refused."""
    if event.manifest:
        if DEPLOYMENT_FILE in here.names:
            raise Refused(f"{here.place.path}/{DEPLOYMENT_FILE} is there already: adopt {here.place.path} instead",
                          reason="file_exists")  # fmt: skip
        return {f"{here.place.path}/{DEPLOYMENT_FILE}": event.manifest.encode()}
    folder = checked(event.path)
    files = await asyncio.to_thread(session.repo.blobs, session.tip, folder) if session.tip else {}
    if not files:
        raise NotFound(f"the config repository has no files in {folder or 'its root'}", reason="no_such_path")
    return files


async def _free(session: Session, here: Situation) -> None:
    """Raises unless the environment is there and the service is not Enclii's yet."""
    project = await session.project(here.place.project)
    if here.place.environment not in {one.name for one in project.environments}:
        raise NotFound(f"{here.place.project} has no environment {here.place.environment}; link it first",
                       reason="unknown_environment")  # fmt: skip
    if TARGETS_FILE in here.names:
        raise Refused(f"{here.place} is adopted already; edit or delete {here.place.path}/{TARGETS_FILE}",
                      reason="already_adopted")  # fmt: skip
    if here.owned:
        raise Refused(f"{here.place} is deployed by Enclii already", reason="already_managed")


def checked(path: str) -> str:
    """The path of a directory or file from the config repository's root, without outer slashes. Raises Invalid."""
    folder = posixpath.normpath(path.strip("/")) if path.strip("/") else ""
    parts = folder.split("/")
    if len(path) > PATH_LIMIT or ".." in parts or ".git" in parts or not path.isprintable():
        raise Invalid(f"{path[:200]!r} is no path in the config repository", reason="bad_path")
    return "" if folder == "." else folder


def of_environment(files: Mapping[str, bytes], environment: str) -> dict[str, bytes]:
    """Without the values files of other environments, where one is named after this one."""
    values = {path for path in files if posixpath.basename(path).startswith("values")}
    own = {path for path in values if environment in posixpath.basename(path)}
    return {path: data for path, data in files.items() if path not in values or not own or path in own}


def plan(here: Place, chosen: tuple[Candidate, ...], found: Found) -> str:
    """What will be edited and what will not, for people; the same for the same files."""
    lines = [f"{here}: each release will change these values and nothing else"]
    lines += [f"  {line}" for one in chosen for line in one.lines]
    others = [one for one in found.candidates if one not in chosen]
    lines += ["left as they are:", *(f"  {one}" for one in others)] if others else []
    return "\n".join([*lines, *(f"passed over: {one}" for one in found.skipped)])


def _planned(event: AdoptRequested, said: str) -> Decision:
    return Decision(
        id=event.id, about="command", outcome="accepted", reason="adoption_planned", message=said,
        project=event.project, environment=event.environment, service=names.name(event.service),
        actor=event.actor, at=now(),
    )  # fmt: skip
