"""How a setting is declared, and how its text is found: in the environment, in one TOML file, in a secret's own."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

PREFIX: Final = "ENCLII_"
FILE: Final = "_FILE"
CONFIG: Final = "ENCLII_CONFIG"
ALIASES: Final = {"BUILDKIT_HOST": "ENCLII_BUILDKIT_HOST", "DOCKER_HOST": "ENCLII_DOCKER_HOST"}
"""Names that other programs gave to what we need too; ours win."""
MAY_LOSE: Final = "may-lose-acknowledged-work"
PROCESSES: Final = (
    "receiver",
    "githost",
    "planner",
    "builder",
    "signer",
    "committer",
    "syncer",
    "door",
    "forge",
    "console",
)
SETUP: Final = "setup"
"""Not a process that stays: it makes the streams and ends."""

_T = TypeVar("_T")


def setting(
    parse: Callable[[str], _T],
    default: str,
    meaning: str,
    *,
    to: str = "",
    secret: bool = False,
    required: bool = False,
) -> _T:
    """A dataclass field that knows how it is written; ``to`` names the processes that get it, "" means all."""
    granted = frozenset(to.split()) if to else frozenset((*PROCESSES, SETUP))
    metadata = {
        "parse": parse,
        "default": default,
        "meaning": meaning,
        "to": granted,
        "secret": secret,
        "required": required,
    }
    return dataclasses.field(default_factory=lambda: parse(default), metadata=metadata)


def env_of(field: dataclasses.Field[Any]) -> str:
    return PREFIX + field.name.upper()


def given_to(
    process: str, environ: Mapping[str, str], known: Collection[str], read: Callable[[Path], str], problems: list[str]
) -> dict[str, str]:
    """What was said, under ``ENCLII_*`` names; the environment wins over the file, and ``known`` are all there are."""
    given = {ours: environ[theirs] for theirs, ours in ALIASES.items() if theirs in environ}
    given |= {name: value for name, value in environ.items() if name.startswith(PREFIX)}
    location = given.pop(CONFIG, "")
    if location:
        given = {**_file(Path(location), process, read, problems), **given}
    problems += [f"{name}: no such setting" for name in sorted(given) if name.removesuffix(FILE) not in known]
    return given


def _file(location: Path, process: str, read: Callable[[Path], str], problems: list[str]) -> dict[str, str]:
    """The top level of the file is for every process; a table named after a process is for that one alone."""
    try:
        document = tomllib.loads(read(location))
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{CONFIG}: {location} cannot be read: {type(error).__name__}")
        return {}
    except tomllib.TOMLDecodeError as error:
        problems.append(f"{CONFIG}: {location} is not TOML: {error}")
        return {}
    tables = {key: value for key, value in document.items() if key in PROCESSES and isinstance(value, dict)}
    common = {key: value for key, value in document.items() if key not in tables}
    return _flat({**common, **tables.get(process, {})}, problems)


def _flat(table: Mapping[str, Any], problems: list[str]) -> dict[str, str]:
    given = {}
    for key, value in table.items():
        if isinstance(value, dict | list):
            problems.append(f"{CONFIG}: {key}: a single value is expected")
        else:
            given[PREFIX + key.upper()] = str(value).lower() if isinstance(value, bool) else str(value)
    return given


def value_of(
    field: dataclasses.Field[Any], given: Mapping[str, str], read: Callable[[Path], str], problems: list[str]
) -> Any:
    env = env_of(field)
    text = given.get(env)
    if text is None and env + FILE in given:
        text = _from_file(env, Path(given[env + FILE]), field, read, problems)
        if text is None:
            return None
    if not text and field.metadata["required"]:
        problems.append(f"{env}: is needed and not set")
        return None
    try:
        return field.metadata["parse"](field.metadata["default"] if text is None else text)
    except ValueError as error:
        problems.append(f"{env}: {error}")
        return None


def _from_file(
    env: str, location: Path, field: dataclasses.Field[Any], read: Callable[[Path], str], problems: list[str]
) -> str | None:
    """A secret may be given by the name of its file, so that it shows in no process list and no configuration."""
    if not field.metadata["secret"]:
        problems.append(f"{env}{FILE}: only a secret can be given by file")
        return None
    try:
        return read(location).strip()
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{env}{FILE}: {location} cannot be read: {type(error).__name__}")
        return None
