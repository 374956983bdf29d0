"""What all webhooks have in common: the signature while the body streams by, then headers and body as deliveries.

A signature mostly covers the body alone; the event's name and the delivery's id are anybody's. So the name must fit
the body's shape, and whatever the body says is a hint that is checked against the registered repository.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets as randomness
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from pipeline.errors import Invalid
from pipeline.events import Delivery
from pipeline.names import BRANCH_PREFIX, ref
from pipeline.said import CheckSaid, CommentSaid, PullSaid

BODY_KEPT = 512 << 10  # compressed; a larger one is known by its hash alone
SECRETS_LIMIT = 8
GUID = re.compile(r"[A-Za-z0-9-]{8,64}")
KIND = re.compile(r"[a-z_]{1,64}")
_LOGIN = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,62})(?:\[bot\])?")
_HEX = re.compile(r"[0-9a-f]{64}")
_NOBODY = randomness.token_bytes(32)

Headers = Mapping[str, str]
"""Of a request, with lower-case names."""


@dataclass(frozen=True)
class Secret:
    """One live or retiring secret of a hook; ``not_after`` in seconds since the epoch, None for no end."""

    kid: str
    value: bytes = field(repr=False)
    not_after: float | None = None


@dataclass(frozen=True)
class Given:
    """What the headers bring to prove who sent the body: signatures (HMAC-SHA256), or a token in the clear."""

    digests: tuple[bytes, ...] = ()
    prefix: bytes = b""  # is signed before the body
    key: Callable[[bytes], bytes] = bytes  # from a hook's secret to the key that signs
    token: bytes = field(default=b"", repr=False)


class Verifier:
    """Takes the body piece by piece and says at the end which secret signed it, if one did."""

    def __init__(self, secrets: Sequence[Secret] | None, *, now: float, given: Given) -> None:
        live = [s for s in secrets or () if s.value and (s.not_after is None or now < s.not_after)][:SECRETS_LIMIT]
        self._given = given
        self._live = live
        # A hook that does not exist costs as much as one that does.
        keys = [given.key(secret.value) for secret in live] or [_NOBODY]
        self._macs = [hmac.new(key, given.prefix, hashlib.sha256) for key in keys]
        self._body = hashlib.sha256()

    def update(self, chunk: bytes) -> None:
        """Take the next piece of the raw body."""
        self._body.update(chunk)
        for mac in self._macs:
            mac.update(chunk)

    def signer(self) -> str | None:
        """The id of the secret that the body was sent with; None for a wrong, empty or truncated proof."""
        return self._by_token() if self._given.token else self._by_digest()

    def _by_digest(self) -> str | None:
        given = self._given.digests or (b"",)
        matches = [
            secret.kid
            for secret, mac in zip(self._live, self._macs, strict=False)
            if any(hmac.compare_digest(mac.digest(), one) for one in given)
        ]
        return matches[0] if matches else None

    def _by_token(self) -> str | None:
        matches = [one.kid for one in self._live if hmac.compare_digest(one.value, self._given.token)]
        return matches[0] if matches else None

    @property
    def body_sha256(self) -> str:
        return self._body.hexdigest()


@dataclass(frozen=True)
class Said:
    """What a body says, in our words."""

    kind: str
    guid: str
    repository: str = ""
    name: str = ""
    actor: str = "unknown"
    ref: str = ""
    before: str = ""
    after: str = ""
    action: str = ""
    pull: PullSaid | None = None
    comment: CommentSaid | None = None
    check: CheckSaid | None = None


@dataclass(frozen=True)
class Forge:
    """How one forge proves and spells its webhooks. ``read`` raises Invalid or a decoding error."""

    name: str
    given: Callable[[Headers, float], Given]
    read: Callable[[Headers, bytes], Sequence[Said]]


def deliveries_of(
    forge: Forge, headers: Headers, body: bytes, *, hook: str, kid: str, body_sha256: str, at: str, trace: str = ""
) -> list[Delivery]:
    """The deliveries of a request whose signature has been checked, at least one. Raises Invalid."""
    try:
        said = forge.read(headers, body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise Invalid(f"the body is no event of {forge.name}: {error}", reason="bad_payload") from None
    packed = zlib.compress(body)
    return [
        Delivery(
            id=f"{forge.name}:{hook}:{one.guid}", at=at, trace=trace, forge=forge.name, kind=one.kind, hook=hook,
            body_sha256=body_sha256, secret_id=kid, body=packed if len(packed) <= BODY_KEPT else b"",
            repository=one.repository, name=one.name, ref=one.ref, before=one.before, after=one.after,
            actor=one.actor, action=one.action, pull=one.pull, comment=one.comment, check=one.check,
        )
        for one in said
    ]  # fmt: skip


def header(headers: Headers, name: str, pattern: re.Pattern[str]) -> str:
    """A header that must be there and well formed. Raises Invalid."""
    value = headers.get(name, "")
    if not pattern.fullmatch(value):
        raise Invalid(f"header {name} is missing or malformed", reason="bad_header")
    return value


def branch(name: str) -> str:
    """A branch's own name, checked. Raises Invalid."""
    return ref(BRANCH_PREFIX + name).removeprefix(BRANCH_PREFIX)


def login(text: str) -> str:
    """An account's name, fit to be shown and stored; "unknown" for anything else."""
    return text if _LOGIN.fullmatch(text) else "unknown"


def hex_digest(text: str) -> tuple[bytes, ...]:
    """The digest that 64 hex digits spell; none for anything else, the empty one of a hook without a secret too."""
    return (bytes.fromhex(text),) if _HEX.fullmatch(text) else ()
