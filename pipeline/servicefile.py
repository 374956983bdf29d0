"""``enclii.yaml``: what a repository says of its services, as frozen values or as a list of all that is wrong.

Parsing starts nothing and reads nothing; which branch feeds which environment is not decided in this file.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from pipeline.servicefile_reader import Node, Problems, read

LIMIT = 256 << 10
NAME = re.compile(r"[a-z](?:[-a-z0-9]{0,38}[a-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_QUANTITY = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:m|[kMGTPE]|[KMGTPE]i)?")
_CPU = re.compile(r"[0-9]+m|[0-9]+(?:\.[0-9]{1,3})?")
_STAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
MAX_SERVICES = 50
MAX_REPLICAS = 100


class Buildpacks(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A build by Cloud Native Buildpacks."""

    builder: str = ""


class Build(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the image is built; all empty means: look at the files."""

    dockerfile: str = ""
    target: str = ""
    args: dict[str, str] = {}
    buildpacks: Buildpacks | None = None


class Resources(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Kubernetes quantities, as written; empty means none."""

    cpu: str = ""
    memory: str = ""


class Overrides(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one environment has otherwise; None and absence mean: as everywhere. ``env`` is merged by name."""

    command: tuple[str, ...] | None = None
    port: int | None = None
    health: str | None = None
    replicas: int | None = None
    env: dict[str, str] = {}
    secrets: tuple[str, ...] | None = None
    resources: Resources | None = None


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
    secrets: tuple[str, ...] = ()
    resources: Resources = Resources()
    environments: dict[str, Overrides] = {}
    previews: bool = True

    def for_environment(self, environment: str) -> ServiceSpec:
        """This service as ``environment`` has it; the result has no overrides left."""
        bare = msgspec.structs.replace(self, environments={})
        override = self.environments.get(environment)
        if override is None:
            return bare
        given = {
            name: value
            for name in ("command", "port", "health", "replicas", "secrets")
            if (value := getattr(override, name)) is not None
        }
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


_RUNTIME = {"command", "port", "health", "replicas", "env", "secrets", "resources"}
_ALL = _RUNTIME | {"path", "build", "environments", "previews"}


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
    if values.get("health") and "port" not in fields:
        fields["health"].problem("a health path needs a port")
    return ServiceSpec(name=node.name, **values)


def _overrides(node: Node) -> Overrides:
    return Overrides(**_runtime(node.fields(_RUNTIME)))


def _runtime(fields: dict[str, Node]) -> dict[str, Any]:
    read_as = {
        "command": lambda node: node.words(),
        "port": lambda node: node.integer(1, 65535),
        "health": _health,
        "replicas": lambda node: node.integer(0, MAX_REPLICAS),
        "env": lambda node: node.strings(_VARIABLE),
        "secrets": lambda node: node.words(_VARIABLE),
        "resources": _resources,
    }
    return {name: read_as[name](fields[name]) for name in read_as if name in fields}


def _build(node: Node) -> Build:
    fields = node.fields({"dockerfile", "target", "args", "buildpacks"})
    if "buildpacks" in fields:
        for other in sorted(fields.keys() - {"buildpacks"}):
            fields[other].problem("cannot be used together with buildpacks")
        builder = fields["buildpacks"].fields({"builder"}).get("builder")
        return Build(buildpacks=Buildpacks(builder=builder.text() if builder else ""))
    return Build(
        dockerfile=fields["dockerfile"].inner_path() if "dockerfile" in fields else "",
        target=fields["target"].text(_STAGE) if "target" in fields else "",
        args=fields["args"].strings(_VARIABLE) if "args" in fields else {},
    )


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
