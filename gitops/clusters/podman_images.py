"""The images of this machine that nobody else could need: those of a preview that ends."""

from __future__ import annotations

from gitops.clusters import podman_commands as commands
from gitops.clusters.podman_calls import Calls
from pipeline.errors import EncliiError


async def shed(calls: Calls, path: str) -> None:
    """Remove what is here of one path of the registry, of a preview's; what a container still has stays."""
    for image in await calls.names(commands.images(path), "list images"):
        try:
            await calls.run(commands.image_remove(image), "remove an image")
        except EncliiError as error:
            if error.reason in ("podman_hangs", "podman_missing"):
                raise
