"""What ``doctor`` says of signatures: what signs, whose are accepted, and the policy that the gate asks.

It is asked of the settings and the files that the verifiers read themselves, each time anew; libraries that cost memory
are loaded when somebody asks, and only where they are configured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from gitops.clusters import Finding
from pipeline.errors import EncliiError
from pipeline.keys import PublicKey
from pipeline.settings import Settings
from pipeline.trust import RetiredKey, Trusted, accepted

if TYPE_CHECKING:
    from gitops.gate.policyfile import Policy

KINDS: Final = {
    "": "a key in a file, made at the first start",
    "hsm": "a key in an HSM, by PKCS #11",
    "hv": "a key in a Vault's transit engine",
    "awskms": "a key in AWS KMS",
    "gcpkms": "a key in Google Cloud KMS",
    "azurekms": "a key in Azure Key Vault",
    "file2": "a key in a file, by the library of remote keys",
    "keyless": "no key: an identity that Fulcio certifies",
}
MEND: Final = "see docs/signing.md"


def signing(told: Settings) -> Iterator[Finding]:
    """What signs, and which keys and identities are accepted or retired."""
    yield _signer(told)
    try:
        trusted = accepted(told)
    except EncliiError as error:
        yield Finding("error", "accepted signatures", error.message, MEND)
        return
    yield Finding("ok", "accepted signatures", "; ".join(_told(one) for one in trusted if not _is_retired(one)))
    if retired := [_told(one) for one in trusted if _is_retired(one)]:
        yield Finding("ok", "retired keys", "; ".join(retired))


def policy(read: Callable[[], Policy]) -> Finding:
    """Whether the policy for all projects can be read, and what it asks; ``read`` fetches it anew."""
    try:
        found = read()
    except EncliiError as error:
        return Finding("error", "policy", f"nothing passes the gate: {error.message}", "see docs/policy.md")
    asked = [
        *(["further predicates"] if len(found.predicates) > 3 else []),
        *(["builders"] if found.builders else []),
        *(["identities"] if found.identities else []),
        *(["reachable commits"] if found.reachable else []),
        *(["licences"] if found.licenses else []),
        *(["packages"] if found.packages else []),
    ]
    overrides = f"; {len(found.overrides)} overrides" if found.overrides else ""
    beside = f", and by policy.yaml: {', '.join(asked)}" if asked else ""
    return Finding("ok", "policy", f"signature, provenance and SBOM are demanded{beside}{overrides}")


def _signer(told: Settings) -> Finding:
    scheme = told.signing_uri.partition(":")[0]
    if scheme not in KINDS:
        return Finding("error", "signer", "ENCLII_SIGNING_URI names no kind of key that is known", MEND)
    keyless, identity = scheme == "keyless", bool(told.keyless_identity)
    if keyless and not identity:
        return Finding("error", "signer", "keyless: without ENCLII_KEYLESS_IDENTITY and _ISSUER", MEND)
    if identity and not keyless:
        text = f"{KINDS[scheme]} signs, and the gate accepts an identity: nothing new would pass"
        return Finding("error", "signer", text, MEND)
    return Finding("ok", "signer", KINDS[scheme])


def _is_retired(one: Trusted) -> bool:
    return isinstance(one, RetiredKey)


def _told(one: Trusted) -> str:
    match one:
        case PublicKey():
            return f"key {one.hint}"
        case RetiredKey():
            return f"key {one.key.hint}"
        case _:
            return f"identity {one.name}"
