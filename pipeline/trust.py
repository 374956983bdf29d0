"""Whose signatures are accepted, and what signs: a key, several while one is rotated, or an identity without one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from pipeline.errors import Invalid
from pipeline.keys import Key, PublicKey, load_public

if TYPE_CHECKING:
    from pipeline.settings import Settings


@dataclass(frozen=True)
class RetiredKey:
    """A key that was accepted once: what it signed is refused by its name, not as a stranger's."""

    key: PublicKey


class Certified(Protocol):
    """An identity that signs with certificates of a few minutes instead of a key: its bundles are what it proves."""

    @property
    def name(self) -> str:
        """Who it is and who vouches for it, as a policy names it."""
        ...

    def opened(self, bundle: bytes) -> bytes:
        """The payload that this identity signed in a sigstore bundle. Raises Refused."""
        ...

    def signed_simply(self, layer: Mapping[str, Any], payload: bytes) -> bool:
        """True when ``layer`` of an older signature carries this identity's certificate over ``payload``."""
        ...


Trusted = PublicKey | RetiredKey | Certified
"""What an accepted signature is checked with; a retired key only says why one is not accepted."""


@runtime_checkable
class Identity(Protocol):
    """What signs in place of a key: it makes whole bundles, each with its certificate and its entry in a log."""

    repeatable: Literal[False]

    @property
    def certified(self) -> Certified: ...

    async def bundle(self, payload: bytes) -> bytes:
        """A sigstore bundle around ``payload``, an in-toto statement. Raises Unavailable, Refused."""
        ...

    async def annotations(self, payload: bytes) -> dict[str, str]:
        """The signature over ``payload`` for the older form's layer. Raises Unavailable, Refused."""
        ...


Signs = Key | Identity


def named(subject: str, issuer: str) -> str:
    """One text for an identity and who vouches for it: what a policy means and a check shows."""
    return f"{subject} by {issuer}"


def checked_with(signs: Signs) -> PublicKey | Certified:
    """What the signatures of ``signs`` are read back with, as a stranger would."""
    return signs.certified if isinstance(signs, Identity) else signs.public


def known_by(one: Trusted) -> bytes:
    """What an installation that signs with ``one`` is known by: the key in PEM, or the identity's name."""
    match one:
        case PublicKey():
            return one.pem
        case RetiredKey():
            return one.key.pem
        case _:
            return one.name.encode()


def accepted(told: Settings) -> tuple[Trusted, ...]:
    """All that the settings accept: what signs now, the other accepted keys, and last the retired. Raises Invalid."""
    now: tuple[Trusted, ...]
    if told.keyless_identity or told.keyless_issuer:
        now = (_certified(told),)
    else:
        now = (load_public(told.below_home(told.verify_key)),)
    others = tuple(one for one in _public(told, told.verify_keys) if one not in now)
    retired = tuple(_public(told, told.retired_keys))
    for one in retired:
        if one in now or one in others:
            raise Invalid(f"the key {one.hint} is accepted and retired at once", reason="bad_key")
    return (*now, *others, *map(RetiredKey, retired))


def _certified(told: Settings) -> Certified:
    if not (told.keyless_identity and told.keyless_issuer):
        raise Invalid("ENCLII_KEYLESS_IDENTITY and ENCLII_KEYLESS_ISSUER go together", reason="bad_identity")
    from pipeline.keyless import open_root

    return open_root(told.below_home(told.sigstore_root)).identity(told.keyless_identity, told.keyless_issuer)


def _public(told: Settings, places: Sequence[Path]) -> Iterator[PublicKey]:
    """The keys of files, and of folders' ``*.pub``, which may be missing."""
    for place in map(told.below_home, places):
        for path in sorted(place.glob("*.pub")) if place.is_dir() or not place.suffix else (place,):
            yield load_public(path)
