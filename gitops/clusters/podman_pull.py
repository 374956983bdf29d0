"""How podman pulls an image: with the account that there is for its registry, without TLS only where it may be."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from pipeline.registries import Registries
from pipeline.registry_accounts import docker_config


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
