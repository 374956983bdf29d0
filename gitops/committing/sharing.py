"""What previews reach of their base environment (``previews.base.shared``), as it is deployed there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from gitops.binding import namespace_of
from gitops.layout import Place
from gitops.projectfile import ProjectFile
from gitops.rendering.surroundings import Shared
from pipeline.records import Release
from pipeline.servicefile import ServiceSpec

Released = Callable[[Place], Awaitable[Release | None]]
"""The release that is deployed in a place."""


async def shared(released: Released, project: ProjectFile, slug: str) -> tuple[Shared, ...]:
    """Each that is deployed and answers on a port."""
    base = project.previews.base
    environment = project.environment(base.environment)
    if environment is None:
        return ()
    namespace, found = namespace_of(slug, base.environment, environment.namespace), []
    for name in base.shared:
        release = await released(Place(slug, base.environment, name))
        port = _port(release, base.environment) if release else None
        if port is not None:
            found.append(Shared(slug, base.environment, name, namespace, port))
    return tuple(found)


def _port(release: Release, environment: str) -> int | None:
    return msgspec.json.decode(release.spec, type=ServiceSpec).for_environment(environment).port
