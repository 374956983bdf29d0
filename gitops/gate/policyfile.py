"""``policy.yaml``: what must be proven of an image before it may be deployed, in the words of the platform's owner.

One file at the root of the config repository holds for all projects; one in a project's directory can only add to it.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from gitops.fields import File
from pipeline import attest
from pipeline.errors import Invalid
from pipeline.trust import named

POLICY_FILE = "policy.yaml"
POLICY = File(POLICY_FILE, "bad_policy", most=10_000)
LIMIT = 256 << 10
PREDICATES: Mapping[str, str] = {
    "signature": attest.SIGNATURE,
    "provenance": attest.PROVENANCE,
    "sbom": attest.SBOM,
    "cyclonedx": attest.CYCLONEDX,
}
ALWAYS = frozenset({attest.SIGNATURE, attest.PROVENANCE, attest.SBOM})
RULES = frozenset({"predicates", "builder", "identity", "reachable", "licenses", "packages"})
_TOP = frozenset({"require", "builders", "identities", "reachable", "deny", "overrides"})
_OVERRIDE = ("image", "rules", "by", "reason", "until")


@dataclass(frozen=True)
class Override:
    """A named human's word that one image may pass some rules all the same, for a reason and until a day."""

    image: str
    rules: frozenset[str]
    by: str
    reason: str
    until: datetime | None = None


@dataclass(frozen=True)
class Policy:
    """What is demanded. Empty ``builders`` and ``identities`` mean the instance's own; denied names may hold ``*``."""

    predicates: frozenset[str] = ALWAYS
    builders: frozenset[str] = frozenset()
    identities: frozenset[str] = frozenset()
    reachable: bool = False
    licenses: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    overrides: tuple[Override, ...] = ()
    digest: str = "sha256:" + hashlib.sha256(b"").hexdigest()


def parse(data: bytes) -> Policy:
    """Read one file. Raises Invalid whose text names the field."""
    found = POLICY.mapping(_load(data), "the file", _TOP)
    deny = POLICY.mapping(found.get("deny"), "deny", frozenset({"licenses", "packages"}))
    reachable = POLICY.switch(found.get("reachable", False), "reachable")
    return Policy(
        predicates=ALWAYS | {_predicate(one) for one in POLICY.names(found.get("require"), "require")},
        builders=frozenset(POLICY.names(found.get("builders"), "builders")),
        identities=frozenset(
            _identity(index, item) for index, item in enumerate(POLICY.items(found.get("identities"), "identities"))
        ),
        reachable=reachable,
        licenses=POLICY.names(deny.get("licenses"), "deny.licenses"),
        packages=POLICY.names(deny.get("packages"), "deny.packages"),
        overrides=tuple(
            _override(index, item) for index, item in enumerate(POLICY.items(found.get("overrides"), "overrides"))
        ),
        digest="sha256:" + hashlib.sha256(data).hexdigest(),
    )


@lru_cache(maxsize=256)
def combined(everywhere: bytes | None, project: bytes | None) -> Policy:
    """The policy of one project: its own file adds demands to the one for all. Raises Invalid."""
    general = parse(everywhere) if everywhere is not None else Policy()
    if project is None:
        return general
    own = parse(project)
    if own.overrides:
        raise POLICY.wrong(
            "overrides", f"of a project are not heard: they belong into the {POLICY_FILE} for all projects"
        )
    return Policy(
        predicates=general.predicates | own.predicates,
        builders=_narrowed(general.builders, own.builders, "builders"),
        identities=_narrowed(general.identities, own.identities, "identities"),
        reachable=general.reachable or own.reachable,
        licenses=general.licenses + own.licenses,
        packages=general.packages + own.packages,
        overrides=general.overrides,
        digest="sha256:" + hashlib.sha256((everywhere or b"") + b"\0" + project).hexdigest(),
    )


def _narrowed(general: frozenset[str], own: frozenset[str], what: str) -> frozenset[str]:
    if not general or not own:
        return general or own
    if not general & own:
        raise POLICY.wrong(what, "of the project allows nothing that the policy for all projects allows")
    return general & own


def _predicate(name: str) -> str:
    if name in PREDICATES:
        return PREDICATES[name]
    if "://" not in name:
        raise POLICY.wrong("require", f"{name!r} is neither a predicate type's URI nor one of {', '.join(PREDICATES)}")
    return name


def _identity(index: int, item: object) -> str:
    """A key's hint, or who signs without a key and who vouches for it."""
    where = f"identities[{index}]"
    if isinstance(item, str):
        return POLICY.names([item], where)[0]
    fields = POLICY.mapping(item, where, frozenset({"identity", "issuer"}))
    subject, issuer = (POLICY.names([fields.get(key)], f"{where}.{key}")[0] for key in ("identity", "issuer"))
    return named(subject, issuer)


def _override(index: int, item: object) -> Override:
    where = f"overrides[{index}]"
    fields = POLICY.mapping(item, where, frozenset(_OVERRIDE))
    for key in ("image", "by", "reason"):
        if not isinstance(fields.get(key), str) or not fields[key].strip():
            raise POLICY.wrong(f"{where}.{key}", "is missing: an override names its image, its author and its reason")
    rules = frozenset(POLICY.names(fields.get("rules"), f"{where}.rules"))
    if not rules or not rules <= RULES - {"predicates"}:
        raise POLICY.wrong(f"{where}.rules", f"must name some of {', '.join(sorted(RULES - {'predicates'}))}")
    return Override(fields["image"], rules, fields["by"], fields["reason"], _until(fields.get("until"), where))


def _until(value: object, where: str) -> datetime | None:
    if value is None:
        return None
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        return moment if moment.tzinfo else moment.astimezone()
    except (ValueError, OverflowError):  # the first and the last days of all are in no zone's calendar
        raise POLICY.wrong(f"{where}.until", "must be a date, or a date and time with its zone") from None


def _load(data: bytes) -> Any:
    if len(data) > LIMIT:
        raise Invalid(f"{POLICY_FILE} is larger than {LIMIT >> 10} KiB", reason="bad_policy")
    try:
        return YAML(typ="safe", pure=True).load(io.BytesIO(data))
    except (YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark is not None else ""
        raise Invalid(f"{POLICY_FILE}{where} is not valid YAML", reason="bad_policy") from None
