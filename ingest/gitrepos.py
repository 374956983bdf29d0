"""The bare repositories on disk: their names, their creation, their refs, and what a crash left in them.

A name is checked once, when it is parsed, and is then the only thing that becomes a path. Every git process gets its
whole configuration from here; nothing of the machine or of the repository's own hooks reaches it.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import Invalid
from pipeline.names import name
from pipeline.process import run

GIT_LIMIT = 30.0
STALE_AFTER = 3600.0
CONFIG_PROJECT, CONFIG_NAME, CONFIG_REF = "enclii", "config", "refs/heads/main"
_PATH = re.compile(rb"/([a-z0-9-]{1,40})/([a-z0-9-]{1,40})\.git/(info/refs|git-upload-pack|git-receive-pack)")
_NOTHING_INHERITED = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0"}


@dataclass(frozen=True, order=True)
class RepositoryName:
    """``<project>/<name>``; made by ``of`` or ``requested`` only, so its parts are names."""

    project: str
    name: str

    @classmethod
    def of(cls, project: str, repository: str) -> RepositoryName:
        """Check both parts. Raises Invalid; the reserved project holds the config repository and nothing else."""
        found = cls(name(project, what="project"), name(repository, what="repository"))
        if found.project == CONFIG_PROJECT and not found.is_config:
            raise Invalid(f"the project name {CONFIG_PROJECT!r} is reserved", reason="bad_name")
        return found

    @property
    def id(self) -> str:
        return f"local:{self.project}/{self.name}"

    @property
    def is_config(self) -> bool:
        return (self.project, self.name) == (CONFIG_PROJECT, CONFIG_NAME)


def requested(raw_path: bytes) -> tuple[RepositoryName, str] | None:
    """The repository and the service (``info/refs`` …) of a request path as it came; None for anything else."""
    match = _PATH.fullmatch(raw_path)
    if match is None:
        return None
    project, repository, service = (part.decode() for part in match.groups())
    try:
        return RepositoryName.of(project, repository), service
    except Invalid:
        return None


def git_environment(config: Mapping[str, str]) -> dict[str, str]:
    """The variables by which git sees exactly this configuration on top of a repository's own."""
    pairs = {"GIT_CONFIG_COUNT": str(len(config))}
    for number, (key, value) in enumerate(config.items()):
        pairs |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return _NOTHING_INHERITED | pairs


def durable() -> dict[str, str]:
    """What is answered as accepted is on the disk; git syncs nothing by default."""
    return {"core.fsync": "all", "core.fsyncMethod": "fsync"}


@dataclass(frozen=True)
class Repositories:
    """All bare repositories below ``root``; this process is the only one that touches them."""

    root: Path

    def path(self, repository: RepositoryName) -> Path:
        return self.root / repository.project / f"{repository.name}.git"

    def exists(self, repository: RepositoryName) -> bool:
        return (self.path(repository) / "HEAD").is_file()

    def all(self) -> list[RepositoryName]:
        """Every repository, in the order of names; what is no repository of ours is passed over."""
        found = (requested(f"/{p.parent.name}/{p.name}/info/refs".encode()) for p in self.root.glob("*/*.git"))
        return sorted(entry[0] for entry in found if entry is not None and self.exists(entry[0]))

    async def create(self, repository: RepositoryName) -> None:
        """Make an empty repository whose first branch is ``main``, whole or not at all; an existing one is left."""
        target = self.path(repository)
        if self.exists(repository):
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_name(f".new-{uuid.uuid4().hex}")
        argv = ("git", "init", "--quiet", "--bare", "--template=", "--initial-branch=main", str(fresh))
        try:
            await run(argv, timeout=GIT_LIMIT, env=git_environment(durable()))
            await asyncio.to_thread(_move, fresh, target)
        finally:
            await asyncio.to_thread(shutil.rmtree, fresh, ignore_errors=True)

    async def refs(self, repository: RepositoryName) -> dict[str, str]:
        """Every ref and the id that it holds."""
        done = await self.git(repository, "for-each-ref", "--format=%(objectname) %(refname)")
        pairs = (line.split(" ", 1) for line in done.decode("utf-8", "replace").splitlines())
        return {ref: value for value, ref in pairs}

    def value(self, repository: RepositoryName, ref: str) -> str:
        """What a ref (its name is checked) was set to since refs were packed last; "" when it was not."""
        try:
            return (self.path(repository) / ref).read_text("ascii", "replace").strip()
        except OSError:
            return ""

    async def git(self, repository: RepositoryName, *argv: str, env: Mapping[str, str] | None = None) -> bytes:
        """What a git command on that repository prints. Raises CommandFailed, CommandTimeout."""
        path = self.path(repository)
        variables = git_environment(durable()) | {"GIT_DIR": str(path)} | dict(env or {})
        return (await run(("git", *argv), timeout=GIT_LIMIT, cwd=path, env=variables)).stdout

    def remove_leftovers(self) -> list[Path]:
        """Delete what pushes and creations that died here left behind, if it is older than any push may last."""
        oldest = time.time() - STALE_AFTER
        left = [*self.root.glob("*/*.git/objects/tmp_objdir-incoming-*"), *self.root.glob("*/.new-*")]
        stale = [path for path in left if path.is_dir() and path.stat().st_mtime < oldest]
        for path in stale:
            shutil.rmtree(path, ignore_errors=True)
        return stale


def _move(fresh: Path, target: Path) -> None:
    """Rename, then sync the folder that holds the name. Losing a race against another creation is success."""
    try:
        fresh.rename(target)
    except OSError:
        if not (target / "HEAD").is_file():
            raise
    for folder in (target.parent, target.parent.parent):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
