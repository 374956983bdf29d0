"""``GET /v1/verify``: what the gate would say of a release or an image now, for anyone who may read."""

from __future__ import annotations

import asyncio
from functools import cached_property
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from console import evaluations
from console.projection import Projection
from pipeline.errors import Invalid, NotFound, Unavailable
from pipeline.main import Process, room
from pipeline.records import Release
from pipeline.registry import Registry

if TYPE_CHECKING:
    from gitops.gate.evaluation import Package
    from gitops.gate.inspection import Inspector
    from gitops.gate.policyfile import Policy

LIMIT = 20.0
USER = "enclii"


class Verification:
    """The handler; what it needs is loaded when somebody asks for the first time, for git and keys cost memory."""

    def __init__(self, db: Projection, process: Process, registry: Registry) -> None:
        self._db, self._process, self._registry = db, process, registry

    async def answer(self, request: Request) -> Response:
        """``?release=ID`` or ``?image=HOST/REPOSITORY@sha256:…[&project=]``; 200 also when a check failed."""
        given = request.query_params
        release, image = given.get("release", ""), given.get("image", "")
        if bool(release) == bool(image):
            raise Invalid("name either a release or an image", reason="bad_query")
        try:
            async with asyncio.timeout(LIMIT):
                if release:
                    return JSONResponse(await self.release(release))
                return JSONResponse(
                    evaluations.told("", image, await self._inspector.image(image, given.get("project", "")))
                )
        except TimeoutError:
            raise Unavailable(f"the stores did not answer within {LIMIT:g} s", reason="verify_timeout") from None

    def policy(self) -> Policy:
        """The policy for all projects as it is in git now. Raises Invalid, Unavailable."""
        return self._inspector.policy("")

    @cached_property
    def _inspector(self) -> Inspector:
        from gitops.committing.sources import Sources
        from gitops.gate.inspection import Inspector
        from gitops.git.configrepo import ConfigRepo
        from pipeline.isolation import builder_ids
        from pipeline.key_files import accepted_keys
        from pipeline.mirrors import Mirrors

        told = self._process.settings
        home = room(told, "console")

        def login() -> tuple[str, str]:
            return USER, told.git_read_token.reveal()

        repo = ConfigRepo(home / "config.git", told.config_url, branch=told.config_branch, login=login)
        keys = accepted_keys(told)
        sources = Sources(self._process.store, Mirrors(told, home))
        return Inspector(self._registry, repo, keys, builder_ids(told.builder_id), sources)

    async def release(self, wanted: str) -> dict[str, Any]:
        """What the gate says of a release. Raises NotFound, Unavailable; it may take as long as the stores do."""
        found = self._release(wanted)
        return evaluations.told(found.id, found.image, await self._inspector.release(found))

    async def packages(self, wanted: str) -> tuple[Package, ...]:
        """What is in a release's image, by its signed SBOM. Raises NotFound, Refused, Unavailable."""
        from gitops.gate import contents

        return await contents.packages(self._registry, self._release(wanted).image, self._inspector.keys)

    def _release(self, wanted: str) -> Release:
        found = self._db.get(Release, wanted)
        if found is None:
            raise NotFound(f"there is no release {wanted}", reason="unknown_release")
        return found
