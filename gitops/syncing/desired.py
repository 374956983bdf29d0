"""What git wants of one service: the deployment's documents as they stand in its config commit."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from gitops import layout
from gitops.clusters import ServiceRef, Wanted
from gitops.git.configrepo import ConfigRepo
from gitops.syncing import manifest, shape
from gitops.wiring import tool_of
from pipeline.errors import Invalid
from pipeline.records import Deployment

KEPT = 2_000
"""Deployments whose documents are remembered, so that looking again costs no reading of YAML."""


class Desired:
    """Reads deployments from a mirror of the config repository, which it brings up to date when it has to."""

    def __init__(self, repo: ConfigRepo) -> None:
        self._repo = repo
        self._lock = asyncio.Lock()
        self._known: OrderedDict[tuple[str, str, str], Wanted] = OrderedDict()  # a config commit never changes

    async def wanted(self, deployment: Deployment) -> Wanted:
        """The deployment as the cluster is asked for it.

        Raises Invalid for manifests that can't be honoured, Unavailable when git does not answer.
        """
        key = (deployment.id, deployment.config_commit, deployment.image)
        if (known := self._known.get(key)) is not None:
            self._known.move_to_end(key)
            return known
        async with self._lock:  # one repository object, one thread at a time
            files = await asyncio.to_thread(self._files, deployment)
        found = self._known[key] = await asyncio.to_thread(wanted_from, deployment, files)
        if len(self._known) > KEPT:
            self._known.popitem(last=False)
        return found

    async def includes(self, revision: str, commit: str) -> bool:
        """True when ``revision`` of the config repository is ``commit`` or comes after it; false when it is unknown.

        Raises Unavailable when git does not answer.
        """
        if revision == commit:
            return True
        async with self._lock:
            return await asyncio.to_thread(self._includes, revision, commit)

    def _includes(self, revision: str, commit: str) -> bool:
        if not (self._repo.has(revision) and self._repo.has(commit)):
            self._repo.fetch()
        return self._repo.has(revision) and self._repo.has(commit) and self._repo.reaches(revision, commit)

    def _files(self, deployment: Deployment) -> dict[str, bytes]:
        if not self._repo.has(deployment.config_commit):
            self._repo.fetch()
        path = layout.place(deployment.project, deployment.environment, deployment.service).path
        return self._repo.files(self._repo.tree(deployment.config_commit, path))


def wanted_from(deployment: Deployment, files: Mapping[str, bytes]) -> Wanted:
    """The wish that a directory's files express; what a cluster can honour of it, the cluster says. Raises Invalid."""
    documents = tuple(
        document for name in sorted(files) if layout.is_manifest(name) for document in _documents(name, files[name])
    )
    ref = ServiceRef(deployment.project, deployment.environment, deployment.service)
    version = deployment.release.rpartition(".")[2] or "none"
    return Wanted(
        ref, deployment.id, version, deployment.image, documents, adopted=layout.TARGETS_FILE in files,
        revision=deployment.config_commit, targets=_targets(ref, files), tool=tool_of(files),
    )  # fmt: skip


def _targets(ref: ServiceRef, files: Mapping[str, bytes]) -> tuple[str, ...]:
    if layout.TARGETS_FILE not in files:
        return ()
    from gitops.editing import targetfile  # its parser is for installations that have adopted something

    directory = layout.Place(ref.project, ref.environment, ref.service).path
    return targetfile.parse(files[layout.TARGETS_FILE], directory).files


def _documents(name: str, data: bytes) -> list[dict[str, Any]]:
    try:
        found = [one for one in manifest.documents(data) if isinstance(one, dict)]
        for one in found:
            shape.check(one)
    except Invalid as error:
        if error.reason == "bad_yaml":
            raise Invalid(f"{name} is not YAML: {error.message}", reason="invalid_yaml") from error
        raise Invalid(f"{name}: {error.message}", reason=error.reason) from error
    return found
