"""``enclii.yaml``: what a repository says of its services, as frozen values or as a list of all that is wrong.

Parsing starts nothing and reads nothing; which branch feeds which environment is not decided in this file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from pipeline.servicefile_reader import Node, Problems, read

LIMIT = 256 << 10
NAME = re.compile(r"[a-z](?:[-a-z0-9]{0,38}[a-z0-9])?")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_QUANTITY = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:m|[kMGTPE]|[KMGTPE]i)?")
_CPU = re.compile(r"[0-9]+m|[0-9]+(?:\.[0-9]{1,3})?")
_STAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_PLATFORM = re.compile(r"linux/[a-z0-9]+(?:/v[0-9]+)?")
_SECRET = re.compile(r"(?:^|_)(?:PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|PRIVATE_?KEY|CREDENTIALS?)$", re.IGNORECASE)
MAX_SERVICES = 50
MAX_SECRETS = 100
MAX_REPLICAS = 100
MAX_USER = 2_147_483_647
_CLAIM = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?")
_KEY = re.compile(r"[A-Za-z0-9][-A-Za-z0-9._/]{0,251}/[-A-Za-z0-9._/]{1,252}")
_TIMEOUT = re.compile(r"[1-9][0-9]{0,4}[smh]")
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_REPLACED = ("command", "port", "health", "replicas", "secrets", "external_secrets", "existing_secrets", "scale")


class Buildpacks(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A build by Cloud Native Buildpacks."""

    builder: str = ""


class Build(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the image is built; all empty means: look at the files."""

    dockerfile: str = ""
    target: str = ""
    args: dict[str, str] = {}
    platforms: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()  # names; a step mounts them, they are never arguments
    buildpacks: Buildpacks | None = None


class Resources(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Kubernetes quantities, as written; empty means none."""

    cpu: str = ""
    memory: str = ""


class Scale(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Between ``min`` and ``max`` replicas, so that they use ``cpu`` percent of what ``resources.cpu`` asks for."""

    min: int
    max: int
    cpu: int = 80


class ReleaseJob(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What has to succeed before a release replaces anything, such as a migration; ``timeout`` in seconds."""

    command: tuple[str, ...]
    timeout: int = 600


class ExternalVolume(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A claim that somebody else made and keeps, and where it is mounted."""

    claim: str
    path: str


class Overrides(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one environment has otherwise; None and absence mean: as everywhere. ``env`` is merged by name."""

    command: tuple[str, ...] | None = None
    port: int | None = None
    health: str | None = None
    replicas: int | None = None
    env: dict[str, str] = {}
    secrets: tuple[str, ...] | None = None
    external_secrets: dict[str, str] | None = None
    existing_secrets: dict[str, str] | None = None
    resources: Resources | None = None
    scale: Scale | None = None


class ServiceSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One service. ``command`` empty: the image's own; ``port`` None: a worker; ``health`` empty: the open port."""

    name: str
    path: str = "."
    build: Build = Build()
    command: tuple[str, ...] = ()
    port: int | None = None
    health: str = ""
    replicas: int = 1
    env: dict[str, str] = {}
    secrets: tuple[str, ...] = ()  # set with ``enclii secret set``
    external_secrets: dict[str, str] = {}  # name → store/key of the External Secrets operator
    existing_secrets: dict[str, str] = {}  # name → Secret/key that somebody else puts into the cluster
    resources: Resources = Resources()
    user: int | None = None  # None: the image's
    scale: Scale | None = None
    release: ReleaseJob | None = None
    volumes: dict[str, ExternalVolume] = {}
    environments: dict[str, Overrides] = {}
    previews: bool = True

    def for_environment(self, environment: str) -> ServiceSpec:
        """This service as ``environment`` has it; the result has no overrides left."""
        bare = msgspec.structs.replace(self, environments={})
        override = self.environments.get(environment)
        if override is None:
            return bare
        given = {name: value for name in _REPLACED if (value := getattr(override, name)) is not None}
        own = override.resources or Resources()
        resources = Resources(cpu=own.cpu or self.resources.cpu, memory=own.memory or self.resources.memory)
        return msgspec.structs.replace(bare, **given, env={**self.env, **override.env}, resources=resources)


class ServiceFile(msgspec.Struct, frozen=True, kw_only=True):
    """All services of one repository at one commit, in the order of the file."""

    services: tuple[ServiceSpec, ...]


def parse_servicefile(text: str, *, filename: str = "enclii.yaml") -> ServiceFile:
    """Read the file. Raises Invalid whose text has one line per problem: ``enclii.yaml:7: services.web.prot: …``."""
    problems = Problems(filename)
    root = read(text, problems, limit=LIMIT)
    services: tuple[ServiceSpec, ...] = ()
    if root is not None:
        fields = root.fields({"services"})
        if "services" in fields:
            services = tuple(_service(node) for node in fields["services"].entries(NAME, most=MAX_SERVICES))
        if not services and not problems:
            root.problem("at least one service is needed, below services:")
    problems.raise_if_any()
    return ServiceFile(services=services)


def default_servicefile(repository_name: str, *, ports: tuple[int, ...] = ()) -> ServiceFile:
    """For a repository without the file: one service named after it, on the one port that its Dockerfile exposes."""
    name = re.sub(r"[^a-z0-9]+", "-", repository_name.lower()).strip("-")[:40].strip("-")
    name = name if NAME.fullmatch(name) else f"app-{name}"[:40].strip("-") if name else "web"
    port = ports[0] if len(ports) == 1 else None
    return ServiceFile(services=(ServiceSpec(name=name, port=port),))


_RUNTIME = {"command", "port", "health", "replicas", "env", "secrets", "resources", "scale"}
_ALL = _RUNTIME | {"path", "build", "environments", "previews", "user", "release", "volumes", "databases"}


def _service(node: Node) -> ServiceSpec:
    fields = node.fields(_ALL)
    values = _runtime(fields)
    if "path" in fields:
        values["path"] = fields["path"].inner_path()
    if "build" in fields:
        values["build"] = _build(fields["build"])
    if "environments" in fields:
        entries = fields["environments"].entries(NAME, most=MAX_SERVICES)
        values["environments"] = {entry.name: _overrides(entry) for entry in entries}
    if "previews" in fields:
        enabled = fields["previews"].fields({"enabled"}).get("enabled")
        values["previews"] = enabled.boolean() if enabled else True
    if "user" in fields:
        values["user"] = fields["user"].integer(1, MAX_USER)
    if "release" in fields:
        values["release"] = _release(fields["release"])
    if "volumes" in fields:
        values["volumes"] = dict(_volumes(fields["volumes"]))
    if "databases" in fields:
        values["secrets"] = _with_databases(values.get("secrets", ()), fields["databases"])
    _check_together(fields, values)
    return ServiceSpec(name=node.name, **values)


def _check_together(fields: dict[str, Node], values: dict[str, Any]) -> None:
    if values.get("health") and "port" not in fields:
        fields["health"].problem("a health path needs a port")
    if "scale" in fields and "replicas" in fields:
        fields["scale"].problem("replicas and scale exclude each other: with scale, the autoscaler counts")
    resources = values.get("resources", Resources())
    if "scale" in fields and not resources.cpu:
        fields["scale"].problem("scaling by CPU needs resources.cpu: it is a part of what was asked for")


def _overrides(node: Node) -> Overrides:
    return Overrides(**_runtime(node.fields(_RUNTIME)))


def _runtime(fields: dict[str, Node]) -> dict[str, Any]:
    read_as = {
        "command": lambda node: node.words(),
        "port": lambda node: node.integer(1, 65535),
        "health": _health,
        "replicas": lambda node: node.integer(0, MAX_REPLICAS),
        "env": lambda node: node.strings(VARIABLE),
        "resources": _resources,
        "scale": _scale,
    }
    values = {name: read_as[name](fields[name]) for name in read_as if name in fields}
    if "secrets" in fields:
        values |= _secrets(fields["secrets"])
    if "secrets" in fields and (both := sorted(values.get("env", {}).keys() & _names(values))):
        fields["secrets"].problem(f"{both[0]} is in env too, where everybody can read it")
    return values


def _names(values: dict[str, Any]) -> set[str]:
    return {*values["secrets"], *values["external_secrets"], *values["existing_secrets"]}


def _secrets(node: Node) -> dict[str, Any]:
    """A list of names, or a mapping of names to where else their values lie."""
    found: dict[str, Any] = {"secrets": (), "external_secrets": {}, "existing_secrets": {}}
    if not node.is_mapping():
        return found | {"secrets": node.words(VARIABLE)}
    for entry in node.entries(VARIABLE, most=MAX_SECRETS, rule="must be a name such as DATABASE_URL"):
        where = entry.fields({"external", "secret"})
        if len(where) > 1:
            entry.problem("external and secret exclude each other")
        if "external" in where:
            found["external_secrets"][entry.name] = where["external"].text(_KEY)
        elif "secret" in where:
            found["existing_secrets"][entry.name] = where["secret"].text(_KEY)
        else:
            found["secrets"] = (*found["secrets"], entry.name)
    return found


def _scale(node: Node) -> Scale:
    fields = node.fields({"min", "max", "cpu"})
    least = fields["min"].integer(1, MAX_REPLICAS) if "min" in fields else 1
    most = fields["max"].integer(1, MAX_REPLICAS) if "max" in fields else least
    if "max" not in fields:
        node.problem("max is missing")
    elif most < least:
        fields["max"].problem("must not be below min")
    return Scale(min=least, max=most, cpu=fields["cpu"].integer(1, 100) if "cpu" in fields else 80)


def _release(node: Node) -> ReleaseJob:
    fields = node.fields({"command", "timeout"})
    command = fields["command"].words() if "command" in fields else ()
    if not command:
        node.problem("a command is missing, such as {command: [./manage, migrate]}")
    timeout = fields["timeout"].scalar(_TIMEOUT, "a duration such as 90s or 10m") if "timeout" in fields else ""
    return ReleaseJob(command=command, timeout=int(timeout[:-1]) * _SECONDS[timeout[-1]] if timeout else 600)


def _volumes(node: Node) -> Iterator[tuple[str, ExternalVolume]]:
    """Enclii keeps no data: a volume is somebody else's claim, or it is refused."""
    for entry in node.entries(NAME, most=MAX_SERVICES):
        fields = entry.fields({"external", "path"})
        if "external" not in fields or "path" not in fields:
            entry.problem(
                "Enclii keeps no data, which a rollback could not bring back: name a claim that somebody else keeps,"
                " {external: CLAIM, path: /data}"
            )
            continue
        path = fields["path"].text()
        if not path.startswith("/") or ":" in path:
            fields["path"].problem('must be an absolute path without ":"')
        yield entry.name, ExternalVolume(claim=fields["external"].text(_CLAIM), path=path)


def _with_databases(secrets: tuple[str, ...], node: Node) -> tuple[str, ...]:
    """A database is somebody else's; what the service needs is the secret that leads to it."""
    for entry in node.entries(NAME, most=MAX_SERVICES):
        fields = entry.fields({"external"})
        if "external" not in fields:
            entry.problem(
                "Enclii runs no databases, which a rollback could not bring back: name the secret that leads to one"
                " that somebody else runs, {external: DATABASE_URL}"
            )
        elif (name := fields["external"].text(VARIABLE)) and name not in secrets:
            secrets = (*secrets, name)
    return secrets


def _build(node: Node) -> Build:
    fields = node.fields({"dockerfile", "target", "args", "platforms", "secrets", "buildpacks"})
    if "buildpacks" in fields:
        for other in sorted(fields.keys() - {"buildpacks"}):
            fields[other].problem("cannot be used together with buildpacks")
        builder = fields["buildpacks"].fields({"builder"}).get("builder")
        return Build(buildpacks=Buildpacks(builder=builder.text() if builder else ""))
    return Build(
        dockerfile=fields["dockerfile"].inner_path() if "dockerfile" in fields else "",
        target=fields["target"].text(_STAGE) if "target" in fields else "",
        args=_arguments(fields["args"]) if "args" in fields else {},
        platforms=fields["platforms"].words(_PLATFORM) if "platforms" in fields else (),
        secrets=fields["secrets"].words(VARIABLE) if "secrets" in fields else (),
    )


def _arguments(node: Node) -> dict[str, str]:
    """Arguments are written into the image's history, so one that is named like a secret is a mistake."""
    found = node.strings(VARIABLE)
    for name in found:
        if _SECRET.search(name):
            node.problem(f"{name} looks like a secret, and arguments stay in the image; use build.secrets")
        if name.upper().startswith("BUILDKIT_"):
            node.problem(f"{name} speaks to the builder and not to the build")
    return found


def _health(node: Node) -> str:
    path = node.text()
    if not path.startswith("/") or re.search(r"[\s\x00-\x1f\x7f]", path) or len(path) > 1024:
        node.problem('must be a path that starts with "/", without blanks')
    return path


def _resources(node: Node) -> Resources:
    fields = node.fields({"cpu", "memory"})
    return Resources(
        cpu=fields["cpu"].scalar(_CPU, 'a CPU quantity such as 500m or "1.5"') if "cpu" in fields else "",
        memory=fields["memory"].scalar(_QUANTITY, "a memory quantity such as 256Mi") if "memory" in fields else "",
    )
