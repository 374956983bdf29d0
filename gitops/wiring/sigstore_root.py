"""A Sigstore's TrustedRoot as the admission controllers want it: certificates and keys in PEM."""

from __future__ import annotations

import base64
import binascii
import json
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.errors import Invalid


@dataclass(frozen=True)
class Instance:
    """One certificate authority and its logs; ``roots`` is its chain, all keys are in PEM."""

    organization: str
    common_name: str
    authority_url: str
    roots: str
    log_url: str
    log_key: str
    certificates_url: str
    certificates_key: str


def read(data: bytes) -> Instance:
    """The newest authority and logs of a TrustedRoot's JSON: they are listed oldest first. Raises Invalid."""
    try:
        document = json.loads(data)
        authority, log, certificates = (document[name][-1] for name in ("certificateAuthorities", "tlogs", "ctlogs"))
        chain = authority["certChain"]["certificates"]
        return Instance(
            organization=str(authority.get("subject", {}).get("organization", "")),
            common_name=str(authority.get("subject", {}).get("commonName", "")),
            authority_url=str(authority.get("uri", "")),
            roots="".join(_pem("CERTIFICATE", one) for one in chain),
            log_url=str(log.get("baseUrl", "")),
            log_key=_pem("PUBLIC KEY", log["publicKey"]),
            certificates_url=str(certificates.get("baseUrl", "")),
            certificates_key=_pem("PUBLIC KEY", certificates["publicKey"]),
        )
    except (ValueError, LookupError, TypeError, AttributeError, binascii.Error):
        text = "not a TrustedRoot of Sigstore with an authority, a log and a log of certificates"
        raise Invalid(text, reason="bad_trusted_root") from None


def _pem(label: str, held: Mapping[str, Any]) -> str:
    raw = base64.b64encode(base64.b64decode(held["rawBytes"], validate=True)).decode()
    return "\n".join([f"-----BEGIN {label}-----", *textwrap.wrap(raw, 64), f"-----END {label}-----", ""])
