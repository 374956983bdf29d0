"""A key that stays where it is: in an HSM, a Vault or a cloud's KMS, used through ``securesystemslib``.

The library is loaded by the signer alone and only where ``ENCLII_SIGNING_URI`` names such a key. Its signatures are not
repeatable, so what is attached already is looked for before anything is signed again (``pipeline.supply``).
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from pipeline.errors import Invalid, Refused, Unavailable
from pipeline.keys import PublicKey, load_public
from pipeline.private import open_to_others

if TYPE_CHECKING:
    from securesystemslib.signer import Signer

SCHEMES = ("hsm", "hv", "awskms", "gcpkms", "azurekms", "file2")
LIMIT = 15.0
AT_ONCE = 8
PIN = "ENCLII_SIGNING_PIN"
_LINE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)")
_FILE_LIMIT = 64 << 10


class RemoteKey:
    """The key behind a URI; open it with ``open_key``. Each signature is checked before it leaves here."""

    repeatable = False

    def __init__(self, signer: Signer, public: PublicKey, *, at_once: int) -> None:
        self.public = public
        self._signer = signer
        self._slots = asyncio.Semaphore(at_once)

    async def signature(self, data: bytes) -> bytes:
        """The signature over ``data`` in DER. Raises Unavailable, and Refused when it is by another key."""
        async with self._slots:
            made = bytes.fromhex((await _asked(self._signer.sign, data)).signature)
        if not self.public.verifies(made, data):
            raise Refused(
                "the key signs, and not as the public key that releases are checked with: ENCLII_VERIFY_KEY",
                reason="key_mismatch",
            )
        return made


async def open_key(uri: str, *, public: Path, environment: Mapping[str, str]) -> RemoteKey:
    """The key that ``uri`` names, tried once. Raises Invalid, Unavailable, Refused.

    ``public`` is the file with its public key; an HSM and a Vault tell that themselves. Of ``environment`` only the PIN
    is read here: the libraries of the clouds, of Vault and of PKCS #11 read the process's own.
    """
    scheme = uri.partition(":")[0]
    if scheme not in SCHEMES:
        raise Invalid(f"ENCLII_SIGNING_URI must begin with one of {', '.join(SCHEMES)}", reason="bad_key")
    try:
        from securesystemslib.signer import Signer as Library
        from securesystemslib.signer import SSlibKey
    except ImportError:
        raise Invalid(
            "a key in a KMS or an HSM needs the package securesystemslib: pip install 'enclii[kms]'",
            reason="library_missing",
        ) from None
    key = await _public(uri, scheme, public, environment)
    described = SSlibKey.from_crypto(key.crypto)

    def pin(_: str) -> str:
        return environment.get(PIN, "")

    try:
        signer = Library.from_priv_key_uri(uri, described, pin)
    except Exception as error:  # each cloud's library has errors of its own
        raise Invalid(f"the key cannot be opened: {type(error).__name__}", reason="bad_key") from None
    opened = RemoteKey(signer, key, at_once=1 if scheme == "hsm" else AT_ONCE)  # a token takes one login at a time
    await opened.signature(b"enclii")
    return opened


async def _public(uri: str, scheme: str, public: Path, environment: Mapping[str, str]) -> PublicKey:
    if scheme == "hsm":
        return await _told_by_hsm(uri, environment)
    return await _told_by_vault(uri) if scheme == "hv" else load_public(public)


async def _told_by_vault(uri: str) -> PublicKey:
    """The transit engine's own word for one version of a key: the library asks it for Ed25519 keys alone."""
    import hvac

    name, slash, version = uri.partition(":")[2].rpartition("/")
    if not slash or not version.isdecimal():
        raise Invalid("a key in a Vault is named hv:NAME/VERSION", reason="bad_key")
    answer = await _asked(lambda: hvac.Client().secrets.transit.read_key(name))
    try:
        pem = answer["data"]["keys"][version]["public_key"]
    except (LookupError, TypeError):
        raise Invalid(f"the Vault has no version {version} of the key {name}", reason="bad_key") from None
    return PublicKey.from_pem(str(pem).encode())


async def _told_by_hsm(uri: str, environment: Mapping[str, str]) -> PublicKey:
    from securesystemslib.signer import HSMSigner

    told = urlsplit(uri)
    label = dict(parse_qsl(told.query)).get("label")
    number = int(told.path) if told.path.isdecimal() else None
    _, key = await _asked(HSMSigner.import_, number, label, lambda _: environment.get(PIN, ""))
    return PublicKey.from_pem(str(key.keyval["public"]).encode())


async def _asked(call: Any, *given: Any) -> Any:
    """What the library answers. Its errors may quote anything, so only their kind is told."""
    try:
        async with asyncio.timeout(LIMIT):
            return await asyncio.to_thread(call, *given)
    except Exception as error:  # each cloud's library has errors of its own
        raise Unavailable(
            f"the signing key does not answer: {type(error).__name__}", reason="key_unavailable", delay=5.0
        ) from None


def environment_of(path: Path) -> dict[str, str]:
    """``NAME=value`` lines: what the library of a KMS or an HSM wants to know. Raises Invalid unless it is private."""
    try:
        with path.open("rb") as file:
            if open_to_others(os.fstat(file.fileno())):
                raise Invalid(f"{path} may be read by others than its owner: chmod 600 it", reason="key_not_private")
            text = file.read(_FILE_LIMIT).decode("utf-8", "replace")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}", reason="key_unreadable") from None
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    found = [_LINE.fullmatch(line) for line in lines]
    if None in found:
        raise Invalid(f"{path}:{found.index(None) + 1} is not NAME=value", reason="bad_environment")
    return {match[1]: match[2] for match in found if match}
