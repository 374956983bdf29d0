"""How podman pulls an image: with the account that there is for its registry, without TLS only where it may be."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from gitops.clusters import podman_commands as commands
from gitops.clusters.podman_calls import QUICK, Calls
from pipeline import process
from pipeline.process import CommandFailed, CommandTimeout
from pipeline.registry_accounts import docker_config

if TYPE_CHECKING:
    from pipeline.registries import Registries

PULL = 600.0


async def pull(calls: Calls, registries: Registries | None, image: str) -> None:
    """An image that is here by its digest is the image: a rollback works while the registry is down."""
    try:
        here = await process.run(commands.image_exists(image), timeout=QUICK, env=calls.env, check=False)
    except (CommandFailed, CommandTimeout) as error:
        raise commands.fault(error, "look for the image") from error
    if here.returncode != 0:
        async with pull_options(registries, image) as options:
            await calls.run(commands.pull(image, options), f"pull {image}", timeout=PULL)


@contextlib.asynccontextmanager
async def pull_options(registries: Registries | None, image: str) -> AsyncIterator[tuple[str, ...]]:
    """Options for ``podman pull``, good inside the context. ``None``: a registry of this machine, without TLS.

    Raises Invalid or Unavailable when the account cannot be found.
    """
    if registries is None:
        yield ("--tls-verify=false",)
        return
    host = image.partition("/")[0]
    options = ("--tls-verify=false",) if host in registries.plain_http else ()
    account = await registries.accounts.of(host)
    if account is None:
        yield options
        return
    with tempfile.TemporaryDirectory(prefix="enclii-login-") as folder:  # for the owner alone
        file = Path(folder) / "auth.json"
        file.write_text(docker_config({host: account}))
        yield (*options, "--authfile", str(file))
