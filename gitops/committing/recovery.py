"""Releases and their numbers out of the config repository, for an event store that was lost: the next one is vN+1.

The commits name every release that was deployed. What they do not say, the service's configuration, is read from the
source commit again; a release whose source is gone keeps its number and is listed no more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import msgspec

from gitops.committing.edits import Commit
from gitops.committing.history import release_number
from gitops.committing.ports import SpecOf
from gitops.committing.session import Session, Unit
from gitops.layout import Place
from gitops.projectfile import ProjectFile
from pipeline.errors import Invalid
from pipeline.names import BRANCH_PREFIX
from pipeline.previews import is_preview
from pipeline.records import Release, Repository, ServiceRecord

KEPT = 20
"""The newest releases of each service that are listed again."""


async def recovered(session: Session, deployed: Iterable[tuple[Commit, Place]], spec_of: SpecOf) -> list[Unit]:
    """The counters and releases that these commits name and the store does not know, one unit for each service."""
    services: dict[tuple[str, str], dict[int, tuple[Commit, Place]]] = defaultdict(dict)
    for commit, place in deployed:
        number = release_number(commit.trailers.get("Release", ""))
        if number and "Source" in commit.trailers and not is_preview(place.environment):
            services[place.project, place.service].setdefault(number, (commit, place))
    units = [await _service(session, found, spec_of) for found in services.values()]
    return [unit for unit in units if unit.changes]


async def _service(session: Session, found: Mapping[int, tuple[Commit, Place]], spec_of: SpecOf) -> Unit:
    newest = max(found)
    commit, place = found[newest]
    project = await _project(session, place.project)
    counter = await session.get(ServiceRecord, place.project, place.service)
    unit = Unit()
    if counter is None or counter.last_release < newest:
        source = _source(project, commit)
        repository = source.id if source else counter.repository if counter else ""
        fields = {"project": place.project, "service": place.service, "repository": repository}
        unit.changes.append(session.put(ServiceRecord(last_release=newest, **fields)))
    for number in sorted(found)[-KEPT:]:
        release = await _release(session, project, *found[number], spec_of)
        if release is not None:
            unit.changes.append(session.put(release))
    return unit


async def _release(
    session: Session, project: ProjectFile, commit: Commit, place: Place, spec_of: SpecOf
) -> Release | None:
    said, source = commit.trailers, _source(project, commit)
    if source is None or await session.get(Release, said["Release"]) is not None:
        return None
    spec = await spec_of(source, said.get("Commit", ""), place.service)
    if spec is None:
        return None
    branch = next((one.branch for one in project.environments if one.name == place.environment), "")
    return Release(
        id=said["Release"], project=place.project, service=place.service, number=release_number(said["Release"]),
        image=said.get("Image", ""), sha=said.get("Commit", ""), ref=BRANCH_PREFIX + branch, repository=source.id,
        source_url=said["Source"], actor=commit.author, subject_line="", run=said.get("Run", ""),
        spec=msgspec.Raw(spec), created_at=commit.at,
    )  # fmt: skip


async def _project(session: Session, slug: str) -> ProjectFile:
    try:
        return await session.project(slug)
    except Invalid:  # a person broke it, and is told so where it is read
        return ProjectFile()


def _source(project: ProjectFile, commit: Commit) -> Repository | None:
    return next((one for one in project.repositories if one.url == commit.trailers["Source"]), None)
