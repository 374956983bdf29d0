"""Whose account each registry is spoken to with: one by settings, the others by a docker ``config.json``.

As docker does: the helper that ``credHelpers`` names for the host, else the entry in ``auths``, else the helper that
``credsStore`` names. The file is read and a helper asked each time, so what is rotated or short-lived is never stale.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import pwd
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import Invalid, Unavailable
from pipeline.process import SEARCH_PATH, CommandFailed, CommandTimeout, run
from pipeline.registry_login import Credentials

HUB = "docker.io"
HUB_KEY = "https://index.docker.io/v1/"
HELPER_LIMIT = 20.0
FILE_LIMIT = 1 << 20
_HUB_NAMES = frozenset({HUB, "index.docker.io", "registry-1.docker.io"})
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NOT_FOUND = b"credentials not found"


@dataclass(frozen=True)
class Accounts:
    """``own``: the accounts that the settings hold, by host; ``file``: a docker ``config.json``, if there is one.

    ``programs`` is where ``docker-credential-*`` are looked for.
    """

    own: Mapping[str, Credentials] = field(default_factory=dict)
    file: Path | None = None
    programs: str = SEARCH_PATH

    async def of(self, host: str) -> Credentials | None:
        """The account for one registry, None for a stranger. Raises Invalid for a file that is none, Unavailable when
        a helper does not answer.
        """
        host = _canonical(host)
        if host in self.own or self.file is None:
            return self.own.get(host)
        config = _read(self.file)
        helpers = {_canonical(key): key for key in _table(config, "credHelpers") if _is_whole(key)}
        if host in helpers:
            return await self._helped(str(config["credHelpers"][helpers[host]]), helpers[host])
        entries = {_canonical(key): entry for key, entry in _table(config, "auths").items() if _is_whole(key)}
        if found := _written(entries.get(host)):
            return found
        store = str(config.get("credsStore") or "")
        return await self._helped(store, HUB_KEY if host == HUB else host) if store else None

    async def several(self, hosts: Collection[str]) -> dict[str, Credentials]:
        """The accounts for those of ``hosts`` that have one."""
        found = {host: await self.of(host) for host in sorted(set(hosts))}
        return {host: account for host, account in found.items() if account is not None}

    def told(self) -> str:
        """Which registries there is an account for and who knows it, for people. Raises Invalid for a broken file."""
        config = _read(self.file) if self.file else {}
        parts = [f"{host} by settings" for host in self.own]
        parts += [f"{key} by helper {name}" for key, name in _table(config, "credHelpers").items()]
        parts += [f"{key} by config.json" for key, entry in _table(config, "auths").items() if entry]
        parts += [f"others by helper {config['credsStore']}"] if config.get("credsStore") else []
        return "accounts of registries: " + (", ".join(parts) or "none")

    async def _helped(self, name: str, server: str) -> Credentials | None:
        """What ``docker-credential-NAME get`` answers: the protocol of docker's credential helpers."""
        if not _HELPER.fullmatch(name):
            raise Invalid("a credential helper's name is letters, digits, dots and hyphens", reason="registry_config")
        argv = (f"docker-credential-{name}", "get")
        assert self.file is not None
        env = {
            "PATH": self.programs, "HOME": pwd.getpwuid(os.geteuid()).pw_dir, "DOCKER_CONFIG": str(self.file.parent),
        }  # fmt: skip
        try:
            done = await run(argv, timeout=HELPER_LIMIT, env=env, small=server.encode(), check=False)
        except (CommandFailed, CommandTimeout):
            raise Unavailable(f"{argv[0]} cannot be run, or hangs", reason="registry_helper") from None
        if done.returncode != 0:
            if _NOT_FOUND in done.stdout:
                return None
            raise Unavailable(f"{argv[0]} ended with {done.returncode}", reason="registry_helper")
        return _answered(argv[0], done.stdout)


def docker_config(accounts: Mapping[str, Credentials]) -> str:
    """The accounts as a ``config.json`` that builders read; docker's own registry under both of its names."""
    auths: dict[str, dict[str, str]] = {}
    for host, account in accounts.items():
        entry = {"auth": account.basic.removeprefix("Basic ")}
        if account.identity:
            entry = {
                "auth": base64.b64encode(f"{account.username}:".encode()).decode(),
                "identitytoken": account.password,
            }
        auths[host] = entry
        if _canonical(host) == HUB:
            auths[HUB_KEY] = entry
    return json.dumps({"auths": auths})


def _canonical(key: str) -> str:
    """``https://index.docker.io/v1/`` and ``docker.io`` are one registry; any other is its host and port."""
    host = key.partition("://")[2] or key
    host = host.partition("/")[0].lower()
    return HUB if host in _HUB_NAMES else host


def _is_whole(key: str) -> bool:
    """True for a registry; false for a part of one, and for what docker's desktop keeps beside its login."""
    path = (key.partition("://")[2] or key).partition("/")[2]
    return path.strip("/") in {"", "v1", "v2"}


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            found = json.loads(stream.read(FILE_LIMIT))
    except OSError as error:
        text = f"{file.name}, which ENCLII_REGISTRY_CONFIG names, cannot be read: {type(error).__name__}"
        raise Invalid(text, reason="registry_config") from None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Invalid(f"{file.name}, which ENCLII_REGISTRY_CONFIG names, is no JSON object", reason="registry_config")
    return found


def _table(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = config.get(name, {})
    if not isinstance(found, dict):
        raise Invalid(f"registry config: {name} is not an object", reason="registry_config")
    return found


def _written(entry: object) -> Credentials | None:
    """An entry of ``auths``; the empty one beside a store means nothing."""
    if not isinstance(entry, dict):
        return None
    if token := entry.get("identitytoken"):
        return Credentials("<token>", str(token), identity=True)
    if "username" in entry and "password" in entry:
        return Credentials(str(entry["username"]), str(entry["password"]))
    if not entry.get("auth"):
        return None
    try:
        name, colon, password = base64.b64decode(str(entry["auth"]), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        colon = ""
    if not colon:
        raise Invalid("registry config: an auth is not base64 of name:password", reason="registry_config")
    return Credentials(name, password.strip("\0"))


def _answered(program: str, stdout: bytes) -> Credentials:
    try:
        answer = json.loads(stdout)
        name, secret = answer["Username"], answer["Secret"]
    except (ValueError, LookupError, TypeError):
        name = secret = None
    if not isinstance(name, str) or not isinstance(secret, str) or not secret:
        raise Unavailable(f"{program} answered no account", reason="registry_helper")
    return Credentials(name, secret, identity=name == "<token>")
