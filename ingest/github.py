"""GitHub's webhook as pure functions: the signature while the body streams by, then headers and body as a delivery.

The signature covers the body alone; the event's name and the delivery's id are anybody's. So the name must fit the
body's shape, and whatever the body says is a hint that the planner checks against the registered repository.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets as randomness
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from pipeline.errors import Invalid
from pipeline.events import Delivery
from pipeline.names import ref, sha

BODY_KEPT = 512 << 10  # compressed; a larger one is known by its hash alone
SECRETS_LIMIT = 8
_SIGNATURE = re.compile(r"sha256=([0-9a-f]{64})")
_EVENT = re.compile(r"[a-z_]{1,64}")
_GUID = re.compile(r"[A-Za-z0-9-]{8,64}")
_LOGIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62})(?:\[bot\])?")
_NOBODY = randomness.token_bytes(32)


@dataclass(frozen=True)
class Secret:
    """One live or retiring secret of a hook; ``not_after`` in seconds since the epoch, None for no end."""

    kid: str
    value: bytes = field(repr=False)
    not_after: float | None = None


class Verifier:
    """Takes the body piece by piece and says at the end which secret signed it, if one did."""

    def __init__(self, secrets: Sequence[Secret] | None, *, now: float) -> None:
        live = [s for s in secrets or () if s.value and (s.not_after is None or now < s.not_after)]
        self._macs = [(s.kid, hmac.new(s.value, digestmod=hashlib.sha256)) for s in live[:SECRETS_LIMIT]]
        # A hook that does not exist costs as much as one that does.
        self._dummy = hmac.new(_NOBODY, digestmod=hashlib.sha256) if not self._macs else None
        self._body = hashlib.sha256()

    def update(self, chunk: bytes) -> None:
        """Take the next piece of the raw body."""
        self._body.update(chunk)
        for _, mac in self._macs:
            mac.update(chunk)
        if self._dummy is not None:
            self._dummy.update(chunk)

    def signer(self, header: str) -> str | None:
        """The id of the secret that made ``X-Hub-Signature-256``; None for a wrong, empty or truncated one."""
        match = _SIGNATURE.fullmatch(header)
        given = bytes.fromhex(match[1]) if match else b""
        matches = [kid for kid, mac in self._macs if hmac.compare_digest(mac.digest(), given)]
        return matches[0] if matches else None

    @property
    def body_sha256(self) -> str:
        return self._body.hexdigest()


class _Repository(msgspec.Struct):
    id: int


class _Account(msgspec.Struct):
    login: str = ""


class _Any(msgspec.Struct):
    repository: _Repository | None = None
    sender: _Account | None = None


class _Ping(_Any):
    zen: str = msgspec.field(default="")
    hook_id: int | None = None


class _Push(msgspec.Struct):
    ref: str
    before: str
    after: str
    repository: _Repository
    sender: _Account | None = None


@dataclass(frozen=True)
class _Said:
    """What a body says, in our words."""

    repository: str
    actor: str
    ref: str = ""
    before: str = ""
    after: str = ""


def delivery_of(
    headers: Mapping[str, str], body: bytes, *, hook: str, kid: str, body_sha256: str, at: str, trace: str = ""
) -> Delivery:
    """The delivery of a request whose signature has been checked; ``headers`` with lower-case names. Raises Invalid."""
    kind = _header(headers, "x-github-event", _EVENT)
    guid = _header(headers, "x-github-delivery", _GUID)
    read = _READERS.get(kind, _other)
    try:
        found = read(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise Invalid(f"the body is no {kind} event: {error}", reason="bad_payload") from None
    packed = zlib.compress(body)
    return Delivery(
        id=f"github:{hook}:{guid.lower()}",
        at=at,
        trace=trace,
        forge="github",
        kind=kind,
        hook=hook,
        body_sha256=body_sha256,
        secret_id=kid,
        body=packed if len(packed) <= BODY_KEPT else b"",
        repository=found.repository,
        ref=found.ref,
        before=found.before,
        after=found.after,
        actor=found.actor,
    )


def _header(headers: Mapping[str, str], name: str, pattern: re.Pattern[str]) -> str:
    value = headers.get(name, "")
    if not pattern.fullmatch(value):
        raise Invalid(f"header {name} is missing or malformed", reason="bad_header")
    return value


def _push(body: bytes) -> _Said:
    event = msgspec.json.decode(body, type=_Push)
    return _Said(
        repository=f"github:{event.repository.id}",
        actor=_actor(event.sender),
        ref=ref(event.ref),
        before=sha(event.before),
        after=sha(event.after),
    )


def _ping(body: bytes) -> _Said:
    event = msgspec.json.decode(body, type=_Ping)
    if event.hook_id is None or not event.zen:
        raise Invalid("a ping has a zen and a hook_id", reason="bad_payload")
    return _origin(event)


def _other(body: bytes) -> _Said:
    return _origin(msgspec.json.decode(body, type=_Any))


def _origin(event: _Any) -> _Said:
    repository = f"github:{event.repository.id}" if event.repository else ""
    return _Said(repository=repository, actor=_actor(event.sender))


def _actor(account: _Account | None) -> str:
    login = account.login if account else ""
    return login if _LOGIN.fullmatch(login) else "unknown"


_READERS = {"push": _push, "ping": _ping}
