"""Signatures without a key: Fulcio certifies a key of ten minutes for an OIDC identity, Rekor logs what it signed.

The library ``sigstore`` does both and checks both; this is the only module that knows it, loaded where an identity is
configured. Private instances are what the settings and the TrustedRoot file name. Nothing is asked of the network to
verify: certificate, log entry and root say it all.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pipeline import simplesigning
from pipeline.errors import Invalid, Refused, Unavailable
from pipeline.trust import named

if TYPE_CHECKING:
    from cryptography.x509 import Certificate
    from sigstore.models import Bundle, TrustedRoot
    from sigstore.sign import Signer
    from sigstore.verify import Verifier

AMBIENT = "ambient"
CERTIFICATE = "dev.sigstore.cosign/certificate"
CHAIN = "dev.sigstore.cosign/chain"
LOGGED = "dev.sigstore.cosign/bundle"
LIMIT = 15.0
AT_ONCE = 8
SPARE = timedelta(seconds=90)
"""A certificate is renewed this long before it ends: the log's clock decides, and a request may wait."""
_TOKEN_LIMIT = 64 << 10

T = TypeVar("T")


@dataclass(frozen=True)
class Root:
    """Whom a Sigstore instance trusts: its certificate authorities and its logs."""

    trusted: TrustedRoot

    def identity(self, name: str, issuer: str) -> CertifiedIdentity:
        """Who may sign, by this root."""
        from sigstore.verify import Verifier

        return CertifiedIdentity(name, issuer, Verifier(trusted_root=self.trusted), self)

    def certifies(self, certificate: Certificate, at: datetime) -> bool:
        """Whether an authority whose days include ``at`` issued ``certificate``: the library looks at no such days."""
        from cryptography.x509 import load_der_x509_certificate

        for authority in self.trusted._inner.certificate_authorities:
            begin, end = authority.valid_for.start, authority.valid_for.end
            if (begin and at < begin) or (end and at > end):
                continue
            if _issued(certificate, load_der_x509_certificate(authority.cert_chain.certificates[0].raw_bytes)):
                return True
        return False


@dataclass(frozen=True)
class CertifiedIdentity:
    """Verifies what an identity signed: ``subject`` is the certificate's alternative name, ``issuer`` OIDC's."""

    subject: str
    issuer: str
    verifier: Verifier
    root: Root

    @property
    def name(self) -> str:
        return named(self.subject, self.issuer)

    def opened(self, bundle: bytes) -> bytes:
        """The payload of a bundle with a certificate. Raises Refused."""
        from sigstore.errors import Error
        from sigstore.models import Bundle

        try:
            read = Bundle.from_json(bundle)
        except (Error, ValueError) as error:
            raise Refused(f"the bundle is no sound one: {_line(error)}", reason="malformed_attestation") from None
        try:
            payload = self.verifier.verify_dsse(read, self._policy)[1]
        except Error as error:
            self._check_who(read.signing_certificate)
            text = f"the certificate or its log entry does not hold: {_line(error)}"
            raise Refused(text, reason=_why(read)) from None
        if not all(self.root.certifies(read.signing_certificate, at) for at in _times(read)):
            raise Refused("the certificate's authority had ended when this was signed", reason="expired_certificate")
        return payload

    def signed_simply(self, layer: Mapping[str, Any], payload: bytes) -> bool:
        """Whether a layer holds a signature over ``payload`` by a certificate of this identity, to sign none twice."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509 import load_pem_x509_certificate

        noted = layer.get("annotations") or {}
        try:
            certificate = load_pem_x509_certificate(noted[CERTIFICATE].encode())
            self._check_who(certificate)
            key, signature = certificate.public_key(), base64.b64decode(noted[simplesigning.ANNOTATION])
            assert isinstance(key, ec.EllipticCurvePublicKey)
            key.verify(signature, payload, ec.ECDSA(hashes.SHA256()))
        except (KeyError, AttributeError, ValueError, AssertionError, binascii.Error, Refused, InvalidSignature):
            return False
        return True

    @property
    def _policy(self) -> Any:
        from sigstore.verify.policy import Identity

        return Identity(identity=self.subject, issuer=self.issuer)

    def _check_who(self, certificate: Certificate) -> None:
        from sigstore.errors import Error

        try:
            self._policy.verify(certificate)
        except Error as error:
            raise Refused(f"another identity signed this: {_line(error)}", reason="wrong_identity") from None


class Keyless:
    """Signs as the identity of a token, with a certificate that is renewed before it ends."""

    repeatable: Literal[False] = False

    def __init__(self, certified: CertifiedIdentity, context: Any, token: Callable[[], str]) -> None:
        self.certified = certified
        self._context = context
        self._token = token
        self._signer: Signer | None = None
        self._ends = datetime.min.replace(tzinfo=UTC)
        self._renewing = asyncio.Lock()
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def bundle(self, payload: bytes) -> bytes:
        """A bundle around ``payload`` with its certificate and log entry, checked before it leaves here."""
        from sigstore.dsse import Statement

        class Opaque(Statement):
            """The library's reader wants a name for each subject, which cosign's own statements do not give."""

            def __init__(self, contents: bytes) -> None:
                self._contents = contents

        signer = await self._certificate()
        async with self._slots:
            made = (await _asked(lambda: signer.sign_dsse(Opaque(payload)), "Rekor")).to_json().encode()
        self.certified.opened(made)
        return made

    async def annotations(self, payload: bytes) -> dict[str, str]:
        """The older form's annotations: signature, certificate and the log's promise."""
        signer = await self._certificate()
        async with self._slots:
            return _older(await _asked(lambda: signer.sign_artifact(payload), "Rekor"))

    async def _certificate(self) -> Signer:
        """The signer with a certificate that is good for a while; one is asked for at a time."""
        async with self._renewing:
            if self._signer is not None and datetime.now(UTC) < self._ends - SPARE:
                return self._signer
            signer, self._ends = await _asked(self._certified, "Fulcio")
            self._signer = signer
            return signer

    def _certified(self) -> tuple[Signer, datetime]:
        from sigstore.oidc import IdentityError, IdentityToken
        from sigstore.sign import Signer

        try:
            token = IdentityToken(self._token())
        except IdentityError as error:
            raise Unavailable(
                f"the identity token is no good: {_line(error)}", reason="bad_token", delay=15.0
            ) from None
        signer = Signer(token, self._context, cache=True)
        certificate = signer._signing_cert()  # the cached one
        self.certified._check_who(certificate)
        return signer, certificate.not_valid_after_utc


async def open_keyless(
    certified: CertifiedIdentity, root: Root, *, fulcio: str, rekor: str, token: Callable[[], str]
) -> Keyless:
    """Sign by the instances at ``fulcio`` and ``rekor``; a certificate is asked for once, to see that it works.

    Raises Invalid, Unavailable, and Refused when the token is another identity's.
    """
    from sigstore.models import ClientTrustConfig
    from sigstore.sign import SigningContext

    told = {
        "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
        "trustedRoot": json.loads(root.trusted._inner.to_json()),
        "signingConfig": _signing_config(fulcio, rekor),
    }
    context = SigningContext.from_trust_config(ClientTrustConfig.from_json(json.dumps(told)))
    _limit(context)
    keyless = Keyless(certified, context, token)
    await keyless._certificate()
    return keyless


def _signing_config(fulcio: str, rekor: str) -> dict[str, Any]:
    def service(url: str) -> list[dict[str, Any]]:
        valid = {"start": "2020-01-01T00:00:00Z"}
        return [{"url": url.rstrip("/"), "majorApiVersion": 1, "validFor": valid, "operator": "configured"}]

    return {
        "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
        "caUrls": service(fulcio),
        "rekorTlogUrls": service(rekor),
        "rekorTlogConfig": {"selector": "ANY"},
        "tsaConfig": {"selector": "ANY"},
    }


def _limit(context: Any) -> None:
    """The library sets no deadline on its requests; one that hangs would keep a thread for ever."""
    from requests.adapters import HTTPAdapter

    class Limited(HTTPAdapter):
        def send(self, *given: Any, **named: Any) -> Any:
            return super().send(*given, **{**named, "timeout": LIMIT})

    def limit(session: Any) -> Any:
        for scheme in ("http://", "https://"):
            if not isinstance(session.adapters[scheme], Limited):
                session.mount(scheme, Limited())
        return session

    class LimitedLog(type(context._rekor)):  # type: ignore[misc]
        @property
        def _session(self) -> Any:
            return limit(super()._session)

    context._rekor.__class__ = LimitedLog  # it makes a session for each thread
    limit(context._fulcio.session)


async def _asked(call: Callable[[], T], whom: str) -> T:
    """What the library answers. Its errors may quote the token, so only their kind is told."""
    try:
        async with asyncio.timeout(2 * LIMIT):
            return await asyncio.to_thread(call)
    except (Invalid, Refused, Unavailable):
        raise
    except Exception as error:  # the library's, its HTTP client's and its parsers'
        text = f"{whom} gave no signature: {type(error).__name__}"
        raise Unavailable(text, reason="sigstore_unavailable", delay=5.0) from None


def _older(made: Bundle) -> dict[str, str]:
    from cryptography.hazmat.primitives.serialization import Encoding

    entry = made.log_entry._inner
    promise = entry.inclusion_promise
    if promise is None:
        raise Refused("Rekor promised nothing: the older form of signatures needs version 1", reason="no_promise")
    payload = {
        "body": base64.b64encode(entry.canonicalized_body).decode(),
        "integratedTime": entry.integrated_time,
        "logIndex": entry.log_index,
        "logID": entry.log_id.key_id.hex(),
    }
    promised = base64.b64encode(promise.signed_entry_timestamp).decode()
    return {
        simplesigning.ANNOTATION: base64.b64encode(made.signature).decode(),
        CERTIFICATE: made.signing_certificate.public_bytes(Encoding.PEM).decode(),
        LOGGED: json.dumps({"SignedEntryTimestamp": promised, "Payload": payload}, separators=(",", ":")),
    }


def open_root(path: Path) -> Root:
    """The TrustedRoot in a file. Raises Invalid."""
    try:
        from sigstore.models import TrustedRoot
    except ImportError:
        raise Invalid(
            "signatures without a key need the package sigstore: pip install 'enclii[keyless]'",
            reason="library_missing",
        ) from None
    try:
        return Root(TrustedRoot.from_file(str(path)))
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}", reason="bad_trusted_root") from None
    except Exception as error:  # the library's and pydantic's
        raise Invalid(
            f"{path} is no TrustedRoot of Sigstore: {type(error).__name__}", reason="bad_trusted_root"
        ) from None


def token_from(source: str, home: Path) -> Callable[[], str]:
    """Where the OIDC token is: a file below ``home``, read anew each time, or what this machine offers a workload."""

    def of_file() -> str:
        try:
            with (home / source).open("rb") as file:
                return file.read(_TOKEN_LIMIT).decode("ascii", "replace").strip()
        except OSError as error:
            text = f"the identity token {home / source} cannot be read: {error.strerror}"
            raise Unavailable(text, reason="bad_token", delay=15.0) from None

    def ambient() -> str:
        from sigstore.oidc import detect_credential

        found = detect_credential()
        if not found:
            raise Unavailable("this machine offers no identity token", reason="bad_token", delay=15.0)
        return found

    return ambient if source == AMBIENT else of_file


def _line(error: Exception) -> str:
    return str(error).replace("\n", " ")[:200] or type(error).__name__


def _why(read: Bundle) -> str:
    """Whether it is the certificate's time: it must have been valid when the log took the entry."""
    certificate = read.signing_certificate
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return "untrusted_certificate" if all(begin <= at <= end for at in _times(read)) else "expired_certificate"


def _times(read: Bundle) -> list[datetime]:
    """When the bundle says that it was signed: the log's word, or a timestamp authority's."""
    logged = read.log_entry._inner.integrated_time
    stamped = read.verification_material.timestamp_verification_data
    stamps = [one.tst_info.gen_time for one in stamped.rfc3161_timestamps] if stamped else []
    return [*stamps, *([datetime.fromtimestamp(int(logged), UTC)] if logged else [])]


def _issued(certificate: Certificate, by: Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(by)
    except Exception:  # by another name, another kind of key, or another key
        return False
    return True
