"""Secrets of builds: sealed to the builder's own key, opened by it alone, and kept as files that steps may mount.

They are the builder's and not the cluster's: what runs gets none of them, and who may read a cluster's Secrets learns
none. The key lies beside the values, so builders that share the folder share it. A value is in memory here for the
length of one call, and in no log, event, argument or error.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from pipeline import names
from pipeline.errors import EncliiError, Invalid
from pipeline.secret_requests import VALUE_LIMIT, Reply
from pipeline.servicefile import VARIABLE

KEY_SUBJECT: Final = "rq.build_secrets.key"
KEEP_SUBJECT: Final = "rq.build_secrets.keep"
LIST_SUBJECT: Final = "rq.build_secrets.list"
KEY_FILE: Final = ".sealing.key"

log = logging.getLogger(__name__)
T = TypeVar("T")


class KeepBuildSecret(msgspec.Struct, frozen=True, kw_only=True):
    """Keep this value for the builds of one service; with nothing sealed, forget it."""

    project: str
    service: str
    name: str
    sealed: bytes = b""


class BuildSecretsOf(msgspec.Struct, frozen=True, kw_only=True):
    """Which secrets do builds of this service have?"""

    project: str
    service: str


class KeptBuildSecret(msgspec.Struct, frozen=True, kw_only=True):
    """The name of one, and when it was set."""

    name: str
    at: str


class KeptBuildSecrets(msgspec.Struct, frozen=True, kw_only=True):
    """The answer; with a ``reason`` there is none."""

    secrets: tuple[KeptBuildSecret, ...] = ()
    reason: str = ""
    message: str = ""


def context(project: str, service: str, name: str) -> bytes:
    """What a value is sealed for: one secret of one service's builds."""
    return "\x00".join(("enclii build secret", project, service, name)).encode()


@dataclass(frozen=True)
class BuildSecretKeeper:
    """Answers over the bus for the builder; ``folder`` holds ``<project>/<service>/<NAME>``."""

    folder: Path

    async def key(self, _: bytes) -> bytes:
        """The public key that values are to be sealed to."""
        return await self._answer(self._key)

    async def keep(self, question: bytes) -> bytes:
        """Open and keep one value, or forget it."""
        return await self._answer(lambda: self._keep(question))

    async def listed(self, question: bytes) -> bytes:
        """Names, never a value."""
        try:
            found = await asyncio.to_thread(self._listed, question)
        except EncliiError as error:
            found = KeptBuildSecrets(reason=error.reason, message=error.message)
        except OSError as error:
            found = KeptBuildSecrets(reason="secrets_unreadable", message=f"the folder: {error.strerror}")
        return msgspec.json.encode(found)

    async def _answer(self, work: Callable[[], Reply]) -> bytes:
        try:
            return msgspec.json.encode(await asyncio.to_thread(work))
        except EncliiError as error:
            return msgspec.json.encode(Reply(reason=error.reason, message=error.message))
        except Exception as error:  # its text might quote what was being kept
            log.error("a build secret could not be kept: %s", type(error).__name__)
            return msgspec.json.encode(Reply(reason="secret_not_stored", message="the secret could not be stored"))

    def _key(self) -> Reply:
        from pipeline.sealing import load_or_make  # late: most builders are never asked

        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Reply(key=load_or_make(self.folder / KEY_FILE).public)

    def _keep(self, question: bytes) -> Reply:
        asked = _read(question, KeepBuildSecret)
        place = self._place(asked.project, asked.service)
        if not VARIABLE.fullmatch(asked.name):
            raise Invalid("a secret is named like a variable: NPM_TOKEN", reason="bad_name")
        if asked.sealed:
            _write(place / asked.name, self._opened(asked))
        else:
            (place / asked.name).unlink(missing_ok=True)
            _sync(place)
        log.info("%s/%s: build secret %s %s", asked.project, asked.service, asked.name,
                 "set" if asked.sealed else "forgotten")  # fmt: skip
        return Reply()

    def _opened(self, asked: KeepBuildSecret) -> bytes:
        from pipeline.sealing import load_or_make

        where = context(asked.project, asked.service, asked.name)
        value = load_or_make(self.folder / KEY_FILE).open(asked.sealed, context=where)
        if not 0 < len(value) <= VALUE_LIMIT:
            raise Invalid(f"a value has 1 byte to {VALUE_LIMIT >> 10} KiB", reason="bad_value")
        return value

    def _listed(self, question: bytes) -> KeptBuildSecrets:
        asked = _read(question, BuildSecretsOf)
        place = self._place(asked.project, asked.service)
        files = sorted(one for one in place.iterdir() if VARIABLE.fullmatch(one.name)) if place.is_dir() else []
        return KeptBuildSecrets(secrets=tuple(KeptBuildSecret(name=one.name, at=_set_at(one)) for one in files))

    def _place(self, project: str, service: str) -> Path:
        return self.folder / names.name(project, what="project") / names.name(service, what="service")


def _read(question: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(question, type=kind)
    except msgspec.MsgspecError:
        raise Invalid("not a request about build secrets", reason="bad_request") from None


def _write(file: Path, value: bytes) -> None:
    """All or nothing, readable by its owner alone; a build that runs keeps the value that it began with."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, made = tempfile.mkstemp(prefix=".", dir=file.parent)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(value)
            opened.flush()
            os.fsync(opened.fileno())
        Path(made).replace(file)
        _sync(file.parent)
    except BaseException:
        Path(made).unlink()
        raise


def _sync(folder: Path) -> None:
    """What was set, or forgotten, stays so after a power cut."""
    with contextlib.suppress(FileNotFoundError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _set_at(file: Path) -> str:
    at = datetime.datetime.fromtimestamp(file.stat().st_mtime, datetime.UTC)
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
