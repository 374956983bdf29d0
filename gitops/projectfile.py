"""``project.yaml``: a project's repositories, and which branch of them feeds which environment.

It is the platform's word and never comes from a pushed commit. A link adds to the file and keeps what people wrote.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from gitops import binding, chat_rules, domains, emit, environment_rules, notification_rules, preview_rules
from gitops.fields import PROJECT
from pipeline import names
from pipeline.errors import EncliiError, Invalid
from pipeline.events import LinkRequested
from pipeline.previews import SCOPE, PreviewRules, is_preview
from pipeline.records import Environment, Repository

LIMIT = 256 << 10
DEFAULT_BRANCHES: Mapping[str, str] = {"production": "main"}
_TOP = frozenset({"repositories", "environments", "roles", "chatops", "previews", "notifications"})
_REPOSITORY = ("id", "name", "forge", "url", "hook", "credential")
_ENVIRONMENT = frozenset({"branch", "protected", "chatops"}) | environment_rules.KEYS | domains.KEYS | binding.KEYS


@dataclass(frozen=True)
class ProjectFile:
    """One project's file, checked."""

    repositories: tuple[Repository, ...] = ()
    environments: tuple[Environment, ...] = ()
    roles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    chatops: Mapping[str, str] = field(default_factory=dict)
    previews: PreviewRules = field(default_factory=PreviewRules)
    notifications: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def fed_by(self, branch: str) -> tuple[Environment, ...]:
        """The environments that this branch feeds."""
        return tuple(environment for environment in self.environments if branch and environment.branch == branch)

    def environment(self, name: str) -> Environment | None:
        """The environment of that name."""
        return next((one for one in self.environments if one.name == name), None)


def parse(data: bytes, *, project: str) -> ProjectFile:
    """Read the file; the same bytes are read once. Raises Invalid whose text names the field."""
    return _parsed(data, project)


@lru_cache(maxsize=1_024)
def _parsed(data: bytes, project: str) -> ProjectFile:
    found = PROJECT.mapping(_load(data), "the file", _TOP)
    repositories = found.get("repositories") or []
    if not isinstance(repositories, list):
        raise PROJECT.wrong("repositories", "must be a list")
    environments = found.get("environments") or {}
    if not isinstance(environments, dict):
        raise PROJECT.wrong("environments", "must be a mapping")
    listed = _checked(tuple(_environment(str(key), item) for key, item in environments.items()))
    return ProjectFile(
        tuple(_repository(index, item, project) for index, item in enumerate(repositories)),
        listed,
        environment_rules.roles(found.get("roles")),
        chat_rules.project(found.get("chatops")),
        preview_rules.read(found.get("previews"), listed),
        notification_rules.read(found.get("notifications")),
    )


def _checked(environments: tuple[Environment, ...]) -> tuple[Environment, ...]:
    """The environments, if each is entered somehow and from one that there is."""
    known = {one.name for one in environments}
    for one in environments:
        source = one.promotion.source if one.promotion else ""
        if source and (source not in known or source == one.name):
            raise PROJECT.wrong(f"environments.{one.name}.promotion.from", "must name another environment")
        if not one.branch and not source:
            raise PROJECT.wrong(f"environments.{one.name}", "needs a branch, or promotion with from")
    return environments


def linked(data: bytes | None, link: LinkRequested) -> bytes:
    """The file with ``link`` in it; ``data`` itself when it says so already. Raises Invalid."""
    document = _editable(data)
    before = parse(data, project=link.project) if data is not None else ProjectFile()
    entries = document.setdefault("repositories", [])
    entry = {key: value for key, value in _entry(link).items() if value}
    old = next((item for item in entries if item.get("id") == link.repository), None)
    if old is None:
        entries.append(entry)
    else:
        if old.get("hook") and not link.rotate:
            entry.pop("hook", None)
        old.update(entry)
    _add_environments(document, link)
    written = _dumped(document) if data is not None else emit.document(document)
    after = parse(written, project=link.project)  # what nobody could read again is not written
    return data if data is not None and after == before else written


def _add_environments(document: dict[str, Any], link: LinkRequested) -> None:
    environments = document.setdefault("environments", {})
    branches = link.branches or ({} if environments else DEFAULT_BRANCHES)
    for key, branch in branches.items():
        names.name(key, what="environment")
        environments.setdefault(key, {})["branch"] = branch
    for key in link.protected:
        if key not in environments:
            raise Invalid(f"{key!r} cannot be protected: there is no such environment", reason="unknown_environment")
        environments[key]["protected"] = True


def _entry(link: LinkRequested) -> dict[str, str]:
    return {
        "id": link.repository,
        "name": link.name,
        "forge": link.forge,
        "url": link.url,
        "hook": link.hook,
        "credential": link.credential,
    }


def _editable(data: bytes | None) -> Any:
    if data is None:
        return {}
    document = _load(data, round_trip=True)
    return document if document is not None else {}


def _dumped(document: Any) -> bytes:
    out = io.BytesIO()
    yaml = YAML()
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.dump(document, out)
    return out.getvalue()


def _load(data: bytes, *, round_trip: bool = False) -> Any:
    if len(data) > LIMIT:
        raise Invalid(f"project.yaml is larger than {LIMIT >> 10} KiB", reason="bad_project_file")
    try:
        return (YAML() if round_trip else YAML(typ="safe", pure=True)).load(io.BytesIO(data))
    except (YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark is not None else ""
        raise Invalid(f"project.yaml{where} is not valid YAML", reason="bad_project_file") from None


def _repository(index: int, item: object, project: str) -> Repository:
    where = f"repositories[{index}]"
    fields = PROJECT.mapping(item, where, frozenset(_REPOSITORY))
    values = {key: PROJECT.text(fields.get(key, ""), f"{where}.{key}") for key in _REPOSITORY}
    for key in ("id", "name", "forge", "url"):
        if not values[key]:
            raise PROJECT.wrong(f"{where}.{key}", "is missing")
    return Repository(project=project, **values)


def _environment(key: str, item: object) -> Environment:
    where = f"environments.{key}"
    fields = PROJECT.mapping(item, where, _ENVIRONMENT)
    branch = PROJECT.text(fields.get("branch", ""), f"{where}.branch")
    protected = PROJECT.switch(fields.get("protected", False), f"{where}.protected")
    try:
        names.name(key, what="environment")
        if is_preview(key) or key == SCOPE:
            raise PROJECT.wrong(where, "is the name of previews, which need no environment")
        if branch or "branch" in fields:
            names.ref(names.BRANCH_PREFIX + branch)
    except EncliiError as error:
        raise PROJECT.wrong(where, error.message) from None
    cluster, namespace, drift = binding.read(fields, where)
    return Environment(
        name=key,
        branch=branch,
        protected=protected,
        cluster=cluster,
        namespace=namespace,
        drift=drift,
        pull_secret=binding.pull_secret(fields, where),
        promotion=environment_rules.promotion(fields.get("promotion"), f"{where}.promotion"),
        freeze=environment_rules.windows(fields.get("freeze"), f"{where}.freeze"),
        rollback=environment_rules.rollback(fields.get("rollback"), f"{where}.rollback"),
        domains=domains.read(fields, where),
        roles=environment_rules.environment_roles(fields.get("roles"), f"{where}.roles"),
        chatops=chat_rules.environment(fields.get("chatops"), f"{where}.chatops"),
    )
