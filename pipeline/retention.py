"""What a registry keeps and what it sheds: pure rules from what it holds and from what the records need.

Only what is known is shed: a manifest that no record and no run explains belongs to somebody else, and stays. What lies
beside an image (signatures, attestations, the list of them) shares the image's fate.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline import images
from pipeline.previews import is_preview

Key = tuple[str, str]
"""Repository and digest."""

CACHE = "/cache"
_RUN = re.compile(r"(r-[a-z2-7]{12})(?:-again)?")
_BESIDE = re.compile(r"sha256-([0-9a-f]{64})(?:\.[a-z]+)?")


@dataclass(frozen=True)
class Held:
    """One manifest that the registry holds. ``blobs`` maps what it names to bytes, itself included.

    ``beside`` is the image that it is attached to; ``members`` are the manifests of an index.
    """

    repository: str
    digest: str
    tags: tuple[str, ...] = ()
    blobs: Mapping[str, int] = field(default_factory=dict, hash=False)
    members: tuple[str, ...] = ()
    beside: str = ""

    @property
    def key(self) -> Key:
        return (self.repository, self.digest)

    @property
    def size(self) -> int:
        return sum(self.blobs.values())


@dataclass(frozen=True)
class Needs:
    """What the records say. ``images`` maps what is needed to why; ``ages`` has each image, run (by its tag) and cache
    (by its repository) that is known, in seconds since it was last used.
    """

    images: Mapping[Key, str]
    runs_open: frozenset[str]
    ages: Mapping[Key, float]
    previews: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True)
class Limits:
    """How long the young are left alone, and a cache that nobody uses is kept, in seconds."""

    grace: float
    cache: float


@dataclass(frozen=True)
class Fate:
    """What becomes of one manifest, and why."""

    held: Held
    keep: bool
    why: str


def beside(tag: str) -> str:
    """The digest of the image that a tag such as ``sha256-….sig`` lies beside; empty for any other tag."""
    found = _BESIDE.fullmatch(tag)
    return f"sha256:{found[1]}" if found else ""


def run_of(tag: str) -> str:
    """The run whose build, the first or the one that compares, has this tag; empty for any other tag."""
    found = _RUN.fullmatch(tag)
    return found[1] if found else ""


def fates(held: Sequence[Held], needs: Needs, limits: Limits) -> tuple[Fate, ...]:
    """What becomes of each, in the order given."""
    decided = {one.key: _fate(one, needs, limits) for one in held if not one.beside}
    kept = {key: fate.why for key, fate in decided.items() if fate.keep}
    members = _members(held, {**needs.images, **kept})
    for key in members.keys() & decided.keys():
        if not decided[key].keep:
            decided[key] = Fate(decided[key].held, True, members[key])
    kept = {**needs.images, **members, **{key: fate.why for key, fate in decided.items() if fate.keep}}
    return tuple(_attached(one, kept) if one.beside else decided[one.key] for one in held)


def _fate(one: Held, needs: Needs, limits: Limits) -> Fate:
    keep, why = _cache(one, needs, limits) if one.repository.endswith(CACHE) else _image(one, needs, limits)
    return Fate(one, keep, why)


def _image(one: Held, needs: Needs, limits: Limits) -> tuple[bool, str]:
    if one.key in needs.images:
        return True, needs.images[one.key]
    runs = {run_of(tag) for tag in one.tags}
    if running := needs.runs_open.intersection(runs):
        return True, f"{min(running)} is on its way"
    if strange := [tag for tag in one.tags if not run_of(tag)]:
        return True, f"tagged {min(strange)} by somebody else"
    known = [needs.ages[key] for key in (one.key, *((one.repository, run) for run in runs)) if key in needs.ages]
    if not known:
        return True, "no record says what it is"
    if min(known) < limits.grace:
        return True, "young"
    return False, "no environment, hold or promotion names it"


def scope_of(tag: str) -> str:
    """The trust class in a cache's tag: ``main``, or a preview's environment."""
    return tag.partition("-")[2]


def _cache(one: Held, needs: Needs, limits: Limits) -> tuple[bool, str]:
    project = one.repository.partition("/")[0]
    owners = {scope_of(tag) for tag in one.tags}
    if owners and all(is_preview(owner) and (project, owner) not in needs.previews for owner in owners):
        return False, "build cache of a preview that is gone"
    age = needs.ages.get((one.repository, ""))
    if age is None:
        return True, "no record says whose cache it is"
    if age < limits.cache:
        return True, "build cache in use"
    return False, "build cache that nothing was built with for long"


def _members(held: Sequence[Held], kept: Mapping[Key, str]) -> dict[Key, str]:
    """Whatever a kept index lists, also over several levels."""
    by_key = {one.key: one for one in held}
    found: dict[Key, str] = {}
    waiting = [key for key in kept if key in by_key]
    while waiting:
        repository, digest = waiting.pop()
        for member in by_key[repository, digest].members:
            key = (repository, member)
            if key not in kept and key not in found:
                found[key] = f"part of {digest[:19]}"
                waiting += [key] if key in by_key else []
    return found


def _attached(one: Held, kept: Mapping[Key, str]) -> Fate:
    keep = (one.repository, one.beside) in kept
    said = "evidence of" if keep else "beside an image that goes or is gone:"
    return Fate(one, keep, f"{said} {one.beside[:19]}")


def shed(decided: Iterable[Fate]) -> list[Held]:
    """What goes, in an order that can be broken off and begun again: what the rest is found by goes last."""
    return sorted((one.held for one in decided if not one.keep), key=lambda one: (turn(one), *one.key))


def turn(one: Held) -> int:
    """Attestations, then the lists and signatures under tags, then images and their parts, then what lists those."""
    return int(bool(one.tags)) if one.beside else 2 + bool(one.members)


def freed(decided: Sequence[Fate]) -> int:
    """Bytes that nothing kept names any more; what several manifests share counts once."""
    kept = {blob for one in decided if one.keep for blob in one.held.blobs}
    gone = {blob: size for one in decided if not one.keep for blob, size in one.held.blobs.items()}
    return sum(size for blob, size in gone.items() if blob not in kept)


def token(decided: Iterable[Fate]) -> str:
    """What a plan would shed, as one word: another plan has another."""
    return images.sha256("\n".join(sorted("@".join(one.held.key) for one in decided if not one.keep)).encode())[7:23]
