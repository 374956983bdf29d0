"""Services whose image is named in files outside of their own directory: which of them a commit may have changed.

Only trees that differ are read, so a commit costs by what it changed and not by how many services there are.
"""

from __future__ import annotations

from functools import lru_cache

from gitops.editing import targetfile
from gitops.git.configrepo import ConfigRepo
from gitops.layout import TARGETS_FILE, Place, place_of
from pipeline.errors import Invalid


def touched(repo: ConfigRepo, before: str, after: str) -> dict[Place, frozenset[str]]:
    """Place → the files that its targets name and that differ between two commits, by their paths.

    All that there is when ``before`` is not known.
    """
    found: dict[Place, frozenset[str]] = {}
    changed = repo.changed(before if repo.has(before) else "", after)
    for path, blob in repo.holding(after, TARGETS_FILE).items():
        place = place_of(path)
        if place is not None and (differing := changed.intersection(_files(repo, path, blob))):
            found[place] = frozenset(differing)
    return found


def _files(repo: ConfigRepo, directory: str, blob: str) -> tuple[str, ...]:
    return _declared(repo.blob(blob), directory)


@lru_cache(maxsize=20_000)
def _declared(data: bytes, directory: str) -> tuple[str, ...]:
    try:
        return targetfile.parse(data, directory).files
    except Invalid:
        return ()  # its directory says so itself, when it changes
