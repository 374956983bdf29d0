"""Every setting of every process: one table, read once from a mapping or one TOML file, all problems told at once.

A process sees only what the table grants it: the same table decides what is read here, what ``enclii up`` hands to
each process, and what the documentation's rows say.
"""

# ruff: noqa: RUF009 - each default is a dataclass field, made by one function so that the table has one shape

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pipeline import parsing
from pipeline.errors import Invalid
from pipeline.login_settings import LoginSettings
from pipeline.parsing import Secret
from pipeline.preview_settings import PreviewSettings
from pipeline.schedule import schedule
from pipeline.setting import ALIASES, CONFIG, FILE, MAY_LOSE, PREFIX, PROCESSES, env_of, given_to, setting, value_of
from pipeline.setting import SETUP as SETUP
from pipeline.signing_settings import SigningSettings

__all__ = [
    "ALIASES", "CONFIG", "FILE", "MAY_LOSE", "PREFIX", "PROCESSES", "Row", "Secret", "Settings", "granted", "table",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Settings(LoginSettings, PreviewSettings, SigningSettings):
    """What one process was told; a field that it is not granted keeps its default."""

    # Where it lives
    home: Path = setting(parsing.path, ".enclii", "state folder; every relative path below is inside it")
    instance: str = setting(parsing.name, "local", "name of this installation, on everything that it starts")
    host: str = setting(parsing.host, "127.0.0.1", "address to listen on", to="receiver githost door console")
    port: int = setting(parsing.port, "0", "port to listen on; 0: any free one", to="receiver githost door console")
    ops_host: str = setting(
        parsing.host, "127.0.0.1", "address of /healthz, /readyz and /metrics; beyond loopback only inside a cluster"
    )
    ops_port: int = setting(parsing.port, "0", "port of /healthz, /readyz and /metrics; 0: any free one")
    log_format: str = setting(
        parsing.choice("auto", "json", "text"), "auto", "how log lines are written; auto: text on a terminal, else JSON"
    )
    log_level: str = setting(
        parsing.choice("debug", "info", "warning", "error"), "info", "the least severe line that is logged"
    )
    otlp_endpoint: str = setting(
        parsing.optional_url("http", "https"), "", "OpenTelemetry collector for traces, by OTLP over HTTP; empty: none"
    )
    drain: float = setting(parsing.duration, "20s", "how long work in hand may go on after SIGTERM")

    # NATS
    nats_url: str = setting(
        parsing.url("nats", "tls"), "nats://127.0.0.1:7042", "NATS server; several by commas", to=""
    )
    nats_user: str = setting(parsing.text, "", "NATS user; empty: none")
    nats_password: Secret = setting(Secret, "", "that user's password", secret=True)
    nats_ca: Path = setting(
        parsing.optional_path, "", "certificates of who signed the NATS servers' own; empty: the system's"
    )
    nats_setup_password: Secret = setting(
        Secret, "", "password of the NATS user `setup`, who makes the streams; empty: `python -m pipeline setup` does",
        to="committer setup", secret=True,
    )  # fmt: skip
    nats_replicas: int = setting(parsing.whole(1, 5), "1", "copies of each stream: 1, or 3 or 5 in a cluster")
    nats_monitor_url: str = setting(
        parsing.url("http", "https"),
        "http://127.0.0.1:7043",
        "NATS server's monitoring address, which tells how it syncs; several by commas",
    )
    lease: float = setting(
        parsing.optional_duration, "off",
        "how long the leading committer or syncer leads without a word; off: there is one of each",
        to="committer syncer",
    )  # fmt: skip
    durability: str = setting(
        parsing.choice("fsync", MAY_LOSE),
        "fsync",
        "fsync: refuse to start unless NATS and git sync before they acknowledge",
    )

    # Registry
    registry: str = setting(
        parsing.address,
        "127.0.0.1:7050",
        "registry's host and port, as in image names",
        to="planner builder signer committer syncer console",
    )
    registry_plain_http: bool = setting(
        parsing.boolean,
        "false",
        "talk plain HTTP to the registry",
        to="planner builder signer committer syncer console",
    )
    registry_user: str = setting(
        parsing.text, "", "registry user; empty: none", to="planner builder signer committer syncer console"
    )
    registry_password: Secret = setting(
        Secret, "", "that user's password", to="planner builder signer committer syncer console", secret=True
    )
    registry_config: Path = setting(
        parsing.optional_path,
        "",
        "docker config.json with the accounts of registries, and the helpers that know more",
        to="planner builder signer committer syncer console",
    )
    plain_http_registries: tuple[str, ...] = setting(
        parsing.addresses,
        "",
        "other registries that are spoken to over plain HTTP, by commas",
        to="planner builder syncer",
    )
    registry_mirrors: tuple[tuple[str, tuple[str, ...]], ...] = setting(
        parsing.mirrors, "", "registry=mirror, by commas: where base images are looked for first", to="planner builder"
    )

    # Git
    githost_url: str = setting(
        parsing.url("http", "https"),
        "http://127.0.0.1:7081",
        "address of Enclii's git host",
        to="githost receiver planner committer syncer console",
    )
    config_url: str = setting(
        parsing.url("http", "https"), "http://127.0.0.1:7081/enclii/config.git", "the config repository",
        to="githost committer syncer forge console",
    )  # fmt: skip
    config_branch: str = setting(parsing.branch, "main", "its branch", to="githost committer syncer forge console")
    config_instances: tuple[str, ...] = setting(
        parsing.fingerprints, "", "former installations whose config commits are taken for own, by commas",
        to="committer",
    )  # fmt: skip
    config_signing_key: Path = setting(
        parsing.optional_path, "", "SSH key (Ed25519 or ECDSA, mode 0600) that signs config commits", to="committer"
    )
    git_read_token: Secret = setting(
        Secret, "", "token that may fetch", to="githost planner committer syncer console", secret=True, required=True
    )
    git_deploy_token: Secret = setting(
        Secret, "", "token that deployers push applications with", to="githost", secret=True, required=True
    )
    git_write_token: Secret = setting(
        Secret, "", "token that may write the config repository", to="githost committer", secret=True, required=True
    )
    push_limit: int = setting(parsing.size, "512Mi", "largest pack that the git host takes", to="githost")
    credentials: Path = setting(
        parsing.path, "credentials", "folder of tokens and deploy keys for private repositories", to="planner committer"
    )
    forges: Path = setting(
        parsing.path, "forges", "folder of the credentials by which forges are answered: one file for each host",
        to="forge",
    )  # fmt: skip
    sweep: float = setting(
        parsing.duration, "60s", "how often the git host compares its heads with what was announced", to="githost"
    )

    # Webhooks and people
    webhook_secrets: tuple[Secret, ...] = setting(
        parsing.secrets,
        "",
        "roots that each hook's secret is derived from, newest first, by commas",
        to="receiver console",
        secret=True,
        required=True,
    )
    webhook_limit: int = setting(parsing.size, "25Mi", "largest delivery that is taken", to="receiver")
    receiver_url: str = setting(
        parsing.url("http", "https"),
        "http://127.0.0.1:7082",
        "address at which forges reach the receiver",
        to="receiver console",
    )
    console_url: str = setting(
        parsing.url("http", "https"),
        "http://127.0.0.1:7080",
        "address at which people reach the console",
        to="receiver githost committer forge console",
    )
    trusted_proxies: tuple[str, ...] = setting(
        parsing.networks,
        "127.0.0.1,::1",
        "proxies whose X-Forwarded-For is believed, as addresses or networks by commas",
        to="receiver githost console",
    )
    api_token: Secret = setting(Secret, "", "bearer token of the API", to="console", secret=True, required=True)
    api_people: Path = setting(
        parsing.path, "secrets/people", "folder of people's own tokens: one file each, named after the person",
        to="console",
    )  # fmt: skip

    # Builds
    build_isolation: str = setting(
        parsing.choice("oci", "chroot"),
        "oci",
        "how a build is confined; chroot is no confinement: a RUN line reaches the host's processes and ports",
        to="builder",
    )
    build_network: str = setting(
        parsing.choice("private", "none"), "private", "network that RUN lines have", to="builder"
    )
    build_timeout: float = setting(parsing.duration, "15m", "wall clock of one build", to="builder")
    build_memory: int = setting(parsing.size, "2Gi", "memory of one build", to="builder")
    build_cpus: float = setting(parsing.number(0.1, 1024), "2", "processors of one build", to="builder")
    build_disk: int = setting(parsing.size, "10Gi", "disk that one build may fill", to="builder")
    build_processes: int = setting(
        parsing.whole(16, 1 << 20), "1024", "processes that one build may start", to="builder"
    )
    build_slots: int = setting(parsing.whole(1, 64), "1", "builds at the same time", to="builder")
    build_per_repository: int = setting(
        parsing.whole(1, 64), "1", "builds of one repository at the same time", to="builder"
    )
    build_stall: float = setting(
        parsing.duration, "10m", "end a build that neither prints nor moves for so long", to="builder"
    )
    build_log: int = setting(
        parsing.size, "4Mi", "output kept of one build; beyond it only the last 256Ki", to="builder"
    )
    build_context: int = setting(
        parsing.size, "512Mi", "sources of one service, packed, that are built", to="planner builder"
    )
    build_watermark: int = setting(
        parsing.size, "2Gi", "free disk below which no build begins and caches are collected", to="builder"
    )
    build_cache_size: int = setting(parsing.size, "20Gi", "what builders may keep between builds", to="builder")
    build_cache: str = setting(
        parsing.choice("auto", "registry", "off"),
        "auto",
        "keep the build cache in the registry; auto: when the BuildKit daemon is another machine's",
        to="builder",
    )
    build_secrets: Path = setting(
        parsing.path, "build-secrets", "folder of build secrets: <project>/<service>/<NAME>", to="builder"
    )
    builder: str = setting(
        parsing.choice("auto", "buildkit", "buildx", "buildah"),
        "auto",
        "what builds Dockerfiles; auto: the first of these that works here",
        to="builder",
    )
    buildpacks: str = setting(
        parsing.choice("auto", "creator", "pack", "off"),
        "auto",
        "build by Buildpacks: the builder image's creator with podman, or pack; auto: when images are listed",
        to="builder",
    )
    buildpacks_builders: str = setting(
        parsing.text, "", "Buildpacks builder images that may run, by commas; the first is the default", to="builder"
    )
    docker_host: str = setting(
        parsing.text, "", "Docker API for pack, of docker or podman; DOCKER_HOST is read too", to="builder"
    )
    buildctl: str = setting(parsing.text, "", "path of buildctl; empty: found on PATH", to="builder")
    buildkit_host: str = setting(
        parsing.text, "", "BuildKit daemon, unix:// or tcp://; BUILDKIT_HOST is read too", to="builder"
    )
    buildkit_tls: str = setting(
        parsing.text, "", "folder with ca.pem, cert.pem, key.pem for a tcp:// daemon", to="builder"
    )

    rebuild: str = setting(
        schedule,
        "off",
        "when what stands on a base image that moved is built again: off, HH:MM (UTC) or an interval",
        to="planner",
    )

    reproduce: float = setting(
        parsing.number(0, 1), "0", "share of the images that are built a second time without cache and compared",
        to="builder",
    )  # fmt: skip
    # Registry's retention
    retention_releases: int = setting(
        parsing.whole(1, 1000), "10", "releases of each environment whose images are kept", to="planner"
    )
    retention_grace: float = setting(
        parsing.duration, "24h", "age below which nothing is shed from the registry", to="planner"
    )
    retention_cache: float = setting(
        parsing.duration, "720h", "how long a build cache in the registry is kept that nothing was built with",
        to="planner",
    )  # fmt: skip

    # Cluster
    cluster: str = setting(
        parsing.name, "podman", "what runs the services of environments that name no cluster", to="syncer console"
    )
    clusters: Path = setting(parsing.path, "clusters.yaml", "the other clusters and their credentials", to="syncer")
    deploy_timeout: float = setting(
        parsing.duration, "5m", "how long a new release may take to become healthy", to="syncer"
    )
    heal: float = setting(parsing.duration, "30s", "how often drift is looked for", to="syncer")
    door_url: str = setting(
        parsing.url("http"),
        "http://localhost:7088",
        "the front door; services are names below its host",
        to="syncer console",
    )
    door_ops_port: int = setting(
        parsing.port, "7108", "the front door's loopback port, which says when an old address is drained", to="syncer"
    )

    def below_home(self, path: Path) -> Path:
        """``path`` itself if it is absolute, else inside the state folder."""
        return self.home / path

    @classmethod
    def from_env(
        cls, environ: Mapping[str, str], *, process: str, read: Callable[[Path], str] = Path.read_text
    ) -> Self:
        """Read what ``process`` is granted from ``ENCLII_*`` over the TOML file that ``ENCLII_CONFIG`` names.

        Raises Invalid with every problem, one a line. No value is ever repeated in it, for it may be a secret.
        """
        problems: list[str] = []
        known = {env_of(field) for field in dataclasses.fields(cls)}
        given = given_to(process, environ, known, read, problems)
        values = {field.name: value_of(field, given, read, problems) for field in _granted(process)}
        if problems:
            raise Invalid("\n".join(problems), reason="bad_settings")
        return cls(**values)


@dataclass(frozen=True)
class Row:
    """One setting as documentation shows it."""

    env: str
    type: str
    default: str
    meaning: str
    processes: tuple[str, ...]
    secret: bool
    required: bool

    def line(self) -> str:
        """The row of the table in ``docs/configuration.md``."""
        default = "needed" if self.required else f"`{self.default}`" if self.default else "none"
        who = "all" if self.processes == PROCESSES else ", ".join(self.processes)
        return f"| `{self.env}` | {self.type} | {default} | {self.meaning} | {who} |"


def table() -> tuple[Row, ...]:
    """Every setting, in the order of the documentation."""
    return tuple(_row(field) for field in dataclasses.fields(Settings))


def granted(process: str) -> tuple[Row, ...]:
    """The settings that ``process`` gets; the others must not reach it. Raises KeyError for an unknown process."""
    return tuple(_row(field) for field in _granted(process))


def _row(field: dataclasses.Field[Any]) -> Row:
    of = field.metadata
    processes = tuple(name for name in PROCESSES if name in of["to"])
    kind = parsing.describe(of["parse"])
    return Row(env_of(field), kind, of["default"], of["meaning"], processes, of["secret"], of["required"])


def _granted(process: str) -> list[dataclasses.Field[Any]]:
    if process not in (*PROCESSES, SETUP):
        raise KeyError(process)
    return [field for field in dataclasses.fields(Settings) if process in field.metadata["to"]]
