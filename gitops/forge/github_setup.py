"""How a GitHub App comes to be: GitHub makes it from our manifest, and what it then tells once is kept in one file.

The person posts the manifest from a page on this machine to GitHub, which sends its browser back here with a code; the
code is exchanged for the App's key. Its hook's secret is set to ours afterwards, so no other one has to be kept.
Contract: https://docs.github.com/en/apps/sharing-github-apps/registering-a-github-app-from-a-manifest
"""

from __future__ import annotations

import contextlib
import html
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from gitops.forge.credentials import App, Credential, api_of
from gitops.forge.door import fine
from gitops.forge.github_events import manifest
from gitops.forge.rest import RestDoor
from pipeline.errors import Invalid

PRIVATE: Final = 0o600


@dataclass(frozen=True)
class Hook:
    """Where GitHub is to deliver, and what it is to sign with."""

    url: str
    secret: str = field(repr=False)


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What GitHub tells of an App once."""

    id: int
    slug: str
    pem: str
    html_url: str

    def __repr__(self) -> str:
        return f"Made({self.slug})"


def site_of(host: str, organisation: str = "") -> str:
    """The page of GitHub that takes a manifest, for oneself or for an organisation."""
    owner = f"organizations/{organisation}/settings" if organisation else "settings"
    return f"https://{host}/{owner}/apps/new"


def page(*, site: str, state: str, name: str, hook: Hook, home: str, back: str) -> str:
    """A page with one button, which posts the manifest to GitHub."""
    said = json.dumps(manifest(name=name, hook=hook.url, home=home, back=back))
    action = html.escape(f"{site}?state={state}")
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Enclii's GitHub App</title>"
        f'<form method=post action="{action}"><input type=hidden name=manifest value="{html.escape(said)}">'
        "<p>GitHub shows next what the App may do.<p><button autofocus>Create the GitHub App</button></form>"
    )


async def finish(*, host: str, api: str, code: str, hook: Hook, folder: Path) -> Made:
    """Exchange the code, keep the credential, and let the App's hook be signed with our secret.

    The credential is kept before the hook is set: a code works once, and the hook can be set again. Raises as ``fine``.
    """
    door = RestDoor(api or api_of("github", host), {"Accept": "application/vnd.github+json"})
    try:
        said = fine(await door.send("POST", f"/app-manifests/{code}/conversions"), "the App's manifest")
    finally:
        await door.close()
    try:
        made = msgspec.convert(said, Made)
    except msgspec.ValidationError as error:
        raise Invalid("GitHub told of no App", reason="forge_refused") from error
    app = App(id=made.id, slug=made.slug, key=made.pem)
    keep(folder, host, Credential(forge="github", api=api or api_of("github", host), app=app))
    await aim(folder / f"{host}.json", hook)
    return made


async def aim(file: Path, hook: Hook) -> None:
    """Let the App of a credential deliver to ``hook``. Raises as ``fine``."""
    from gitops.forge.credentials import read
    from gitops.forge.github_door import GitHubDoors

    door = GitHubDoors(read(file)).app()
    body: dict[str, Any] = {"url": hook.url, "secret": hook.secret, "content_type": "json", "insecure_ssl": "0"}
    try:
        fine(await door.send("PATCH", "/app/hook/config", body), "the App's webhook")
    finally:
        await door.close()


def keep(folder: Path, host: str, credential: Credential) -> None:
    """Write a credential for its owner's eyes alone, whole or not at all."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = folder / f".{host}.new"
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE), "wb") as file:
        file.write(msgspec.json.encode(credential))
        file.flush()
        os.fsync(file.fileno())
    new.replace(folder / f"{host}.json")
