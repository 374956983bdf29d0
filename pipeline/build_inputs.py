"""From a request to the job that a builder gets: arguments, secrets, cache, registry login, and what is masked.

A build's secrets are files that the operator laid into ``<folder>/<project>/<service>/<NAME>``. Only a build of a
trusted class gets them, and they reach a step by mount alone.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from pipeline.builders import BuildFailed, BuildJob, Cache
from pipeline.builders.buildkit import Buildkit
from pipeline.builders.choice import Chosen
from pipeline.events import BuildRequested
from pipeline.masking import Masker
from pipeline.names import token
from pipeline.registry_login import Credentials
from pipeline.servicefile import ServiceSpec
from pipeline.settings import Settings

MAIN = "main"
SECRET_LIMIT = 64 << 10


@dataclass(frozen=True)
class BuildInputs:
    """What the installation adds to each request."""

    secrets: Path
    plain_http: bool
    registry_cache: bool = False
    credentials: Credentials | None = None
    authfile: Path | None = None
    context_limit: int = 512 << 20
    masked: tuple[bytes, ...] = field(default=(), repr=False)

    def job(self, event: BuildRequested, context: Path, registry: str) -> BuildJob:
        """The job for one request. Raises BuildFailed when a secret that it names is not there."""
        spec = msgspec.json.decode(event.spec, type=ServiceSpec)
        folder = self.secrets / event.project / event.service
        repository = f"{registry}/{event.project}/{event.service}"
        return BuildJob(
            context=context,
            repository=repository,
            tag=event.run,
            timestamp=event.commit_time,
            dockerfile=event.dockerfile,
            target=spec.build.target,
            arguments=spec.build.args,
            pins=event.bases,
            platforms=spec.build.platforms,
            secrets=_secrets(folder, spec.build.secrets, trusted=event.trust == MAIN),
            image=spec.build.buildpacks.builder if spec.build.buildpacks else "",
            cache=cache_of(repository, event.repository, event.trust) if self.registry_cache else None,
            no_cache=event.no_cache,
            trusted=event.trust == MAIN,
            plain_http=self.plain_http,
            authfile=self.authfile,
            masker=Masker((*self.masked, *_all_values(folder), *self._login())),
        )

    def write_login(self, registry: str) -> None:
        """The registry's account as the file that builders read; nothing without an account."""
        if self.authfile is None:
            return
        self.authfile.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        account = {registry: {"auth": self._basic()}} if self.credentials else {}
        self.authfile.touch(mode=0o600)
        self.authfile.write_text(json.dumps({"auths": account}))

    def _basic(self) -> str:
        return self.credentials.basic.removeprefix("Basic ") if self.credentials else ""

    def _login(self) -> tuple[bytes, ...]:
        if self.credentials is None:
            return ()
        return (self.credentials.password.encode(), base64.b64decode(self._basic()))


def inputs_of(told: Settings, chosen: Chosen) -> BuildInputs:
    """As the settings say; with an account, its file is written for the builders to read."""
    builder = chosen.by_kind.get("dockerfile")
    remote = isinstance(builder, Buildkit) and not builder.local
    account = Credentials(told.registry_user, told.registry_password.reveal()) if told.registry_user else None
    inputs = BuildInputs(
        secrets=told.below_home(told.build_secrets), plain_http=told.registry_plain_http, credentials=account,
        registry_cache=told.build_cache == "registry" or (told.build_cache == "auto" and remote),
        authfile=told.below_home(Path("builder/login/config.json")) if account else None,
    )  # fmt: skip
    inputs.write_login(told.registry)
    return inputs


def cache_of(repository: str, source: str, trust: str) -> Cache:
    """Where a build's cache lies: by source repository and trust class. Every class reads main's and writes its own."""
    place = f"{repository}/cache"
    main, own = f"{place}:{token(source)[:16]}-{MAIN}", f"{place}:{token(source)[:16]}-{trust}"
    return Cache((main,) if own == main else (own, main), own)


def _secrets(folder: Path, names: tuple[str, ...], *, trusted: bool) -> dict[str, Path]:
    if names and not trusted:
        raise BuildFailed("builds of previews and forks get no secrets", reason="build_secrets_refused")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise BuildFailed(
            f"no build secret {', '.join(missing)}: the operator lays it into {folder.parent.name}/{folder.name} of "
            "ENCLII_BUILD_SECRETS",
            reason="build_secret_missing",
        )
    return {name: (folder / name).resolve() for name in names}


def _all_values(folder: Path) -> list[bytes]:
    """Every value of the service, named by this build or not: a cached step may print what an older one knew."""
    if not folder.is_dir():
        return []
    return [file.read_bytes()[:SECRET_LIMIT].strip() for file in sorted(folder.iterdir()) if file.is_file()]
