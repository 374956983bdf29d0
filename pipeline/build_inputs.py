"""From a request to the job that a builder gets: arguments, secrets, cache, registry accounts, and what is masked.

A build's secrets are files in ``<folder>/<project>/<service>/<NAME>`` (see build_secrets.py). Only a build of a
trusted class gets them, and they reach a step by mount alone. Its accounts are those of the registries that its base
images come from, found anew for each build; one that is not trusted gets that of its own registry alone, to push.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from pipeline.builders import BuildFailed, BuildJob, Cache, project_toml
from pipeline.builders.buildkit import Buildkit
from pipeline.builders.choice import Chosen, listed_images
from pipeline.builders.dockerfiles import mounts, scanned
from pipeline.dockerfile import full_reference
from pipeline.events import BuildRequested
from pipeline.masking import Masker
from pipeline.names import token
from pipeline.onbuild import Mounting, asker
from pipeline.previews import repository_of
from pipeline.registries import Registries, registries_of
from pipeline.registry_accounts import docker_config
from pipeline.registry_login import Credentials
from pipeline.servicefile import ServiceSpec
from pipeline.settings import Settings

MAIN = "main"
SECRET_LIMIT = 64 << 10


@dataclass(frozen=True)
class BuildInputs:
    """What the installation adds to each request."""

    secrets: Path
    registries: Registries = field(default_factory=Registries)
    registry_cache: bool = False
    builder_images: tuple[str, ...] = ()
    context_limit: int = 512 << 20
    mounting: Mounting | None = None
    """Asked where steps are cached beyond their build: whether a base image's own steps may mount something."""

    async def job(self, event: BuildRequested, context: Path, registry: str, login: Path) -> BuildJob:
        """The job for one request; ``login`` is where the accounts that it needs are written.

        Raises BuildFailed when a secret that it names is not there, Unavailable when a credential helper is not.
        """
        plain = await asyncio.to_thread(self._job, event, context, registry)
        hosts = await asyncio.to_thread(self._hosts, event, plain) if plain.trusted else frozenset[str]()
        accounts = await self.registries.accounts.several({registry, *hosts})
        masker = Masker((*_all_values(self._folder(event)), *_told(accounts.values())))
        mounting = await self._mounting(event, plain)
        return replace(
            plain,
            masker=masker,
            mounting=mounting,
            authfile=_written(login, docker_config(accounts)) if accounts else None,
        )

    async def _mounting(self, event: BuildRequested, job: BuildJob) -> bool:
        if self.mounting is None or event.builds == "buildpacks":
            return False
        text, found = await asyncio.to_thread(scanned, job)
        if mounts(text):
            return True
        images = [image if "@" in image else f"{image}@{pin}" if (pin := event.bases.get(image)) else image
                  for image in found.images]  # fmt: skip
        for image in images:
            if await self.mounting(image):
                return True
        return False

    def _job(self, event: BuildRequested, context: Path, registry: str) -> BuildJob:
        spec = msgspec.json.decode(event.spec, type=ServiceSpec)
        shared = f"{registry}/{repository_of(event.project, event.service)}"
        return BuildJob(
            context=context,
            repository=f"{registry}/{repository_of(event.project, event.service, event.trust)}",
            tag=event.run,
            timestamp=event.commit_time,
            dockerfile=event.dockerfile,
            target=spec.build.target,
            arguments=spec.build.args,
            pins=event.bases,
            platforms=spec.build.platforms,
            secrets=_secrets(self._folder(event), spec.build.secrets, trusted=event.trust == MAIN),
            image=spec.build.buildpacks.builder if spec.build.buildpacks else "",
            cache=cache_of(shared, event.repository, event.trust) if self.registry_cache else None,
            no_cache=event.no_cache,
            trusted=event.trust == MAIN,
            plain_http=registry in self.registries.plain_http,
            source=event.source,
            scope=scope_of(event.project, event.repository, event.trust),
        )

    def _folder(self, event: BuildRequested) -> Path:
        return self.secrets / event.project / event.service

    def _hosts(self, event: BuildRequested, job: BuildJob) -> frozenset[str]:
        """The registries that base images come from, with their mirrors."""
        if event.builds == "buildpacks":
            asked = job.image or project_toml.read(job.context).builder
            images: Iterable[str] = [asked] if asked in self.builder_images else self.builder_images[:1]
        else:
            _, found = scanned(job)
            images = found.images
        origins = {full_reference(image).partition("/")[0] for image in images}
        return frozenset(place for origin in origins for place in self.registries.places(origin))


def _written(file: Path, text: str) -> Path:
    """For the owner alone, from the first byte on."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.touch(mode=0o600)
    file.write_text(text)
    return file


def _told(accounts: Iterable[Credentials]) -> list[bytes]:
    """What of an account must not be seen in a log: the password, and both as HTTP sends them."""
    return [
        text for one in accounts for text in (one.password.encode(), base64.b64decode(one.basic.removeprefix("Basic ")))
    ]


def inputs_of(told: Settings, chosen: Chosen) -> BuildInputs:
    """As the settings say."""
    builder = chosen.by_kind.get("dockerfile")
    remote = isinstance(builder, Buildkit) and not builder.local
    registries = registries_of(told)
    return BuildInputs(
        secrets=told.below_home(told.build_secrets), registries=registries,
        mounting=asker(registries) if isinstance(builder, Buildkit) else None,
        registry_cache=told.build_cache == "registry" or (told.build_cache == "auto" and remote),
        builder_images=listed_images(told), context_limit=told.build_context,
    )  # fmt: skip


def cache_of(repository: str, source: str, trust: str) -> Cache:
    """Where a build's cache lies: by source repository and trust class. Every class reads main's and writes its own."""
    place = f"{repository}/cache"
    main, own = f"{place}:{token(source)[:16]}-{MAIN}", f"{place}:{token(source)[:16]}-{trust}"
    return Cache((main,) if own == main else (own, main), own)


def scope_of(project: str, source: str, trust: str) -> str:
    """What one repository and trust class of a project is called where builds leave something for later ones."""
    return token("build scope", project, source, trust)[:20]


def _secrets(folder: Path, names: tuple[str, ...], *, trusted: bool) -> dict[str, Path]:
    if names and not trusted:
        raise BuildFailed("builds of previews and forks get no secrets", reason="build_secrets_refused")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise BuildFailed(
            f"no build secret {', '.join(missing)}: enclii secret set {missing[0]}=- --build -p {folder.parent.name} "
            f"-s {folder.name}",
            reason="build_secret_missing",
        )
    return {name: (folder / name).resolve() for name in names}


def _all_values(folder: Path) -> list[bytes]:
    """Every value of the service, named by this build or not: a cached step may print what an older one knew."""
    if not folder.is_dir():
        return []
    return [file.read_bytes()[:SECRET_LIMIT].strip() for file in sorted(folder.iterdir()) if file.is_file()]
