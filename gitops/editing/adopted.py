"""A service whose files belong to people: what of them Enclii edits, for a release and on the way back.

The places are declared in ``enclii-targets.yaml``. Without it, a manifest from which somebody took Enclii's header is
still understood: its containers with the service's image are what is edited.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from gitops.committing.edits import Change, Edit
from gitops.editing import pinning, spans, targetfile, targets
from gitops.editing.targets import Target
from gitops.layout import DEPLOYMENT_FILE, TARGETS_FILE, is_manifest
from gitops.notes import Notes
from gitops.render import is_ours
from pipeline.errors import EncliiError, Invalid, Refused
from pipeline.images import ImageRef

Read = Callable[[str], bytes | None]
"""A file of the config repository at one commit, by its path."""


@dataclass(frozen=True)
class Adopted:
    """The targets of one service, and the bytes of the files that they name."""

    targets: tuple[Target, ...]
    files: Mapping[str, bytes]
    image: str = ""
    """What the values named before Enclii's first release."""

    def named(self) -> str:
        """The image that the values name. Raises Invalid."""
        return pinning.image_of(self.targets, self.files)


@dataclass(frozen=True)
class Former:
    """A service's directory as an earlier commit had it: the files with Enclii's header, and people's values."""

    owned: Mapping[str, bytes]
    people: Adopted | None = None
    notes: Notes = field(default_factory=Notes)


NOTHING = Former({})


def read(directory: str, files: Mapping[str, bytes], at: Read, *, repository: str = "") -> Adopted | None:
    """The service in ``directory``, which has ``files``; None where Enclii renders. Raises Invalid.

    ``repository`` is where the service's images are, for a directory that declares no targets.
    """
    if TARGETS_FILE in files:
        declared = targetfile.parse(files[TARGETS_FILE], directory)
        found = {path: data for path in declared.files if (data := at(path)) is not None}
        return Adopted(declared.targets, found, declared.image)
    if is_ours(files.get(DEPLOYMENT_FILE, b"")):
        return None
    people = {f"{directory}/{name}": data for name, data in files.items() if is_manifest(name) and not is_ours(data)}
    meant = _containers(people, repository) if repository else ()
    return Adopted(meant, {target.file: people[target.file] for target in meant}) if meant else None


def _containers(files: Mapping[str, bytes], repository: str) -> tuple[Target, ...]:
    found: list[Target] = []
    for path, data in sorted(files.items()):
        if repository.encode() not in data:
            continue
        try:
            file = spans.parse(data)
            several = [
                Target(path, "workload", f"{kind}/{name}", container)
                for kind, name, pod in targets.workloads(file)
                for container, _ in targets.containers(file, pod)
            ]
            found += [one for one in several if pinning.repository(pinning.image_of([one], {path: data})) == repository]
        except EncliiError as error:
            raise Invalid(f"{path}: {error.message}", reason=error.reason) from error
    return tuple(found)


def deploys(found: Adopted, image: str, tag: str) -> dict[str, Change]:
    """For each file how it changes for ``image``. Raises Refused, Invalid when one cannot."""
    to = ImageRef.parse(image)
    changes: dict[str, Change] = {}
    for path in _paths(found):
        several = [target for target in found.targets if target.file == path]
        changes[path] = partial(_retargeted, several, path, to, tag)
    return changes


def restores(found: Adopted, former: Adopted | None, image: str, tag: str) -> dict[str, Change]:
    """For each file how its values become again what they were; where there were others, they name ``image``.

    Raises Refused, Invalid when one cannot.
    """
    if former is None:
        return deploys(found, image, tag)
    changes: dict[str, Change] = {}
    for path in _paths(found):
        several = [target for target in found.targets if target.file == path]
        again = partial(_retargeted, several, path, ImageRef.parse(image), tag) if "@" in image else None
        changes[path] = partial(_restored, several, path, former.files.get(path), again)
    return changes


def _paths(found: Adopted) -> list[str]:
    return list(dict.fromkeys(target.file for target in found.targets))


def _retargeted(several: list[Target], path: str, image: ImageRef, tag: str, data: bytes | None) -> bytes:
    files = {path: data} if data is not None else {}
    return pinning.edited(several, files, image=image, tag=tag).get(path, data or b"")


def _restored(
    several: list[Target], path: str, former: bytes | None, again: Change | None, data: bytes | None
) -> bytes:
    files = {path: data} if data is not None else {}
    then = {path: former} if former is not None else {}
    try:
        return pinning.restored(several, files, then).get(path, data or b"")
    except Refused:
        if again is None:
            raise
        return again(data)


def edits(own: Edit, changes: Mapping[str, Change]) -> tuple[Edit, tuple[Edit, ...]]:
    """The edit of the service's own directory with the changes in it, and the edits of other directories."""
    others: dict[str, dict[str, Change]] = {}
    for path, change in changes.items():
        directory, name = posixpath.split(path)
        others.setdefault(directory, {})[name] = change
    inside = others.pop(own.path, {})
    return replace(own, change=inside), tuple(Edit(path, change=some) for path, some in others.items())
