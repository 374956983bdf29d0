"""``project.toml``: what a repository tells Buildpacks, version 0.2 of its schema, and 0.1 where it says the same.

Groups that name a buildpack of the builder image are honoured; those that would fetch or run something from elsewhere
(``uri``, ``script``) are refused by name.
"""

from __future__ import annotations

import fnmatch
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import Invalid, Refused

NAME = "project.toml"
LIMIT = 256 << 10


@dataclass(frozen=True)
class Group:
    """One buildpack of the builder image."""

    id: str
    version: str = ""


@dataclass(frozen=True)
class Project:
    """What the file says; empty values mean: as the builder image has it."""

    builder: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    groups: tuple[Group, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)

    def order(self) -> str:
        """The groups as the ``order.toml`` that the lifecycle reads."""
        lines = ["[[order]]"]
        for group in self.groups:
            lines += ["[[order.group]]", f"id = {_quoted(group.id)}"]
            lines += [f"version = {_quoted(group.version)}"] if group.version else []
        return "\n".join(lines) + "\n"

    def keeps(self, path: str) -> bool:
        """True if a file of the sources is handed to the buildpacks."""
        if self.include:
            return any(_matches(pattern, path) for pattern in self.include)
        return not any(_matches(pattern, path) for pattern in self.exclude)


def read(context: Path) -> Project:
    """The file in ``context``, or all defaults. Raises Invalid or Refused, which name the key."""
    file = context / NAME
    if file.is_symlink() or not file.is_file():
        return Project()
    try:
        document = tomllib.loads(file.read_bytes()[:LIMIT].decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _invalid(f"not TOML: {error}") from error
    table = _table(_table(document, "io"), "buildpacks") or _table(document, "build")
    include, exclude = _strings(table, "include"), _strings(table, "exclude")
    if include and exclude:
        raise _invalid("io.buildpacks: include and exclude cannot be used together")
    groups = table.get("group", table.get("buildpacks", []))
    env = _table(table, "build").get("env", table.get("env", []))
    return Project(
        builder=_string(table, "builder"), include=include, exclude=exclude,
        groups=tuple(_group(one) for one in _tables(groups, "group")),
        env={_string(one, "name"): _string(one, "value") for one in _tables(env, "build.env")},
    )  # fmt: skip


def _group(table: Mapping[str, Any]) -> Group:
    for key in ("uri", "script"):
        if key in table:
            raise Refused(
                f"{NAME}: a group with {key} is not built here; name a buildpack of the builder image by its id",
                reason="buildpack_refused",
            )
    return Group(_string(table, "id") or _missing("group.id"), _string(table, "version"))


def _matches(pattern: str, path: str) -> bool:
    """The part of gitignore's rules that such files use: ``*.md``, ``docs/``, ``/top``, ``a/*.txt``."""
    bare = pattern.strip("/")
    parts = path.split("/")
    if "/" not in bare and not pattern.startswith("/"):
        return any(fnmatch.fnmatchcase(part, bare) for part in parts)
    return any(fnmatch.fnmatchcase("/".join(parts[: count + 1]), bare) for count in range(len(parts)))


def _table(table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = table.get(key, {})
    if not isinstance(found, dict):
        raise _invalid(f"{key}: a table is expected")
    return found


def _tables(found: object, key: str) -> list[Mapping[str, Any]]:
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise _invalid(f"{key}: a list of tables is expected")
    return found


def _string(table: Mapping[str, Any], key: str) -> str:
    found = table.get(key, "")
    if not isinstance(found, str) or "\0" in found:
        raise _invalid(f"{key}: a string is expected")
    return found


def _strings(table: Mapping[str, Any], key: str) -> tuple[str, ...]:
    found = table.get(key, [])
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise _invalid(f"{key}: a list of strings is expected")
    return tuple(found)


def _missing(key: str) -> str:
    raise _invalid(f"{key} is needed")


def _invalid(text: str) -> Invalid:
    return Invalid(f"{NAME}: {text}", reason="bad_project_toml")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
