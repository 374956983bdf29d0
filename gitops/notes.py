"""``secrets.yaml``, ``scale.yaml`` and ``orphaned.yaml``: what was said of a service, kept beside its manifests.

A deployment is rendered with them, so they outlive the next release. None ever holds a secret's value.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from gitops import emit
from gitops.layout import DEPLOYMENT_FILE, ORPHANED_FILE, SCALE_FILE, SECRETS_FILE
from gitops.rendering.surroundings import Surroundings
from pipeline.errors import Invalid
from pipeline.records import SecretVersion

SECRETS_HEADER = "Versions of this service's secrets; `enclii secret set` changes them. The values are in the cluster."
SCALE_HEADER = "The count that somebody scaled to; `enclii scale SERVICE=default` takes it away."
ORPHANED_HEADER = "enclii.yaml does not have this service any more. It runs on until `enclii destroy`."
LIMIT = 64 << 10
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_RESTARTED = re.compile(rb'^\s+enclii\.dev/restarted-at: "([^"\n]{1,64})"$', re.MULTILINE)
_REPLICAS = re.compile(rb"^  replicas: [0-9]+$", re.MULTILINE)


@dataclass(frozen=True)
class Scale:
    """So many replicas, whatever ``enclii.yaml`` says."""

    replicas: int
    by: str = ""
    at: str = ""
    why: str = ""


@dataclass(frozen=True)
class Orphaned:
    """That a service vanished from ``enclii.yaml``: by which commit, whose push and when."""

    commit: str = ""
    by: str = ""
    at: str = ""


@dataclass(frozen=True)
class Notes:
    """What is noted of one service; ``restarted_at`` is read from the manifest, where it belongs."""

    secrets: Mapping[str, SecretVersion] = field(default_factory=dict)
    scale: Scale | None = None
    restarted_at: str = ""
    orphaned: Orphaned | None = None

    @property
    def versions(self) -> dict[str, int]:
        return {name: one.version for name, one in self.secrets.items()}

    def around(self, given: Surroundings) -> Surroundings:
        """What a release is rendered into: what the environment gives, with these notes."""
        count = self.scale.replicas if self.scale else None
        return replace(given, secrets=self.versions, replicas=count, restarted_at=self.restarted_at)

    def files(self) -> dict[str, bytes]:
        """The notes as files; an empty one is none."""
        found: dict[str, bytes] = {}
        if self.secrets:
            listed = {name: _entry(self.secrets[name]) for name in sorted(self.secrets)}
            found[SECRETS_FILE] = emit.document({"secrets": listed}, header=SECRETS_HEADER)
        if self.scale is not None:
            told = {"by": self.scale.by, "at": self.scale.at, "why": self.scale.why}
            said = {"replicas": self.scale.replicas} | {key: value for key, value in told.items() if value}
            found[SCALE_FILE] = emit.document(said, header=SCALE_HEADER)
        return found | self.mark()

    def mark(self) -> dict[str, bytes]:
        """``orphaned.yaml``, where the service is."""
        if self.orphaned is None:
            return {}
        said = {"commit": self.orphaned.commit, "by": self.orphaned.by, "at": self.orphaned.at}
        fields = {key: value for key, value in said.items() if value}
        return {ORPHANED_FILE: emit.document(fields, header=ORPHANED_HEADER)}


def read(files: Mapping[str, bytes]) -> Notes:
    """The notes in a service's directory. Raises Invalid, naming the file: nothing is rendered on a guess."""
    found = _RESTARTED.search(files.get(DEPLOYMENT_FILE, b""))
    return Notes(
        secrets=_secrets(files[SECRETS_FILE]) if SECRETS_FILE in files else {},
        scale=_scale(files[SCALE_FILE]) if SCALE_FILE in files else None,
        restarted_at=found[1].decode("utf-8", "replace") if found else "",
        orphaned=_orphaned(files[ORPHANED_FILE]) if ORPHANED_FILE in files else None,
    )


def rolled_back(old: Notes, now: Notes) -> Notes:
    """The notes after going back: the old versions of what there was then, what was set since, and today's count.

    What ``enclii.yaml`` has is not brought back by it either: an orphan stays one.
    """
    return Notes(secrets={**now.secrets, **old.secrets}, scale=now.scale, orphaned=now.orphaned)


def with_count(manifest: bytes, scale: Scale | None) -> bytes:
    """A rendered Deployment with the count that somebody scaled to: going back does not shrink a service."""
    return manifest if scale is None else _REPLICAS.sub(b"  replicas: %d" % scale.replicas, manifest, count=1)


def _entry(one: SecretVersion) -> dict[str, object]:
    return {"version": one.version} | {key: text for key, text in (("by", one.by), ("at", one.at)) if text}


def _secrets(data: bytes) -> dict[str, SecretVersion]:
    found = _load(data, SECRETS_FILE).get("secrets") or {}
    if not isinstance(found, dict):
        raise _wrong(SECRETS_FILE, "secrets must be a mapping")
    return {_name(name): _version(name, entry) for name, entry in found.items()}


def _name(name: Any) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _wrong(SECRETS_FILE, f"{str(name)[:60]!r} is not the name of a variable")
    return name


def _version(name: Any, entry: Any) -> SecretVersion:
    number = entry.get("version") if isinstance(entry, dict) else None
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise _wrong(SECRETS_FILE, f"{name} has no version above 0")
    return SecretVersion(version=number, by=str(entry.get("by") or "")[:200], at=str(entry.get("at") or "")[:64])


def _scale(data: bytes) -> Scale:
    found = _load(data, SCALE_FILE)
    count = found.get("replicas")
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise _wrong(SCALE_FILE, "replicas must be a whole number")
    return Scale(count, *(str(found.get(key) or "")[:1_000] for key in ("by", "at", "why")))


def _orphaned(data: bytes) -> Orphaned:
    """The file's presence is the mark, whatever a person made of its text."""
    try:
        found = _load(data, ORPHANED_FILE)
    except Invalid:
        return Orphaned()
    return Orphaned(*(str(found.get(key) or "")[:1_000] for key in ("commit", "by", "at")))


def _load(data: bytes, filename: str) -> dict[str, Any]:
    try:
        found = YAML(typ="safe", pure=True).load(io.BytesIO(data[:LIMIT]))
    except (YAMLError, ValueError, RecursionError):
        raise _wrong(filename, "is not valid YAML") from None
    if not isinstance(found, dict):
        raise _wrong(filename, "is not a mapping")
    return found


def _wrong(filename: str, what: str) -> Invalid:
    return Invalid(f"{filename}: {what}", reason="bad_notes")
