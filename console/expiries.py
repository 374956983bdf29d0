"""When certificates and tokens end: asked of the addresses themselves and of the records, now and then.

An address that does not answer says nothing; that it does not is another figure's matter.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from pipeline.measures import Gauge

ANSWER_LIMIT: Final = 3.0
KEPT: Final = 600.0
NAME: Final = "enclii_expiry_timestamp_seconds"


@dataclass(frozen=True)
class Endpoint:
    """An address that speaks TLS."""

    name: str
    host: str
    port: int


def endpoints(**addresses: str) -> list[Endpoint]:
    """Those of the named addresses that speak TLS: ``https`` URLs."""
    parts = [(name, urlsplit(text)) for name, text in addresses.items()]
    secure = ((name, one) for name, one in parts if one.scheme == "https")
    return [Endpoint(name, one.hostname, one.port or 443) for name, one in secure if one.hostname]


class Expiries:
    """The figures, read again after ten minutes."""

    def __init__(self, at: Sequence[Endpoint]) -> None:
        self._at = at
        self._read = -KEPT
        self._known: dict[tuple[str, ...], float] = {}

    async def gauges(self) -> Sequence[Gauge]:
        """One value for each certificate, in seconds since the epoch."""
        if time.monotonic() - self._read >= KEPT:
            ends = await asyncio.gather(*map(_ends, self._at))
            self._known = {("certificate", at.name): end for at, end in zip(self._at, ends, strict=True) if end}
            self._read = time.monotonic()
        return [Gauge(NAME, "When a certificate or token ends", ("kind", "name"), self._known)]


async def _ends(at: Endpoint) -> float | None:
    """When the certificate ends that the address shows; whether it is trusted is its users' part."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(ANSWER_LIMIT):
            _, writer = await asyncio.open_connection(at.host, at.port, ssl=context, server_hostname=at.host)
            shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            writer.transport.abort()  # nothing is said on it, so nobody waits for a farewell
        return _end_of(shown) if shown else None
    return None


def _end_of(certificate: bytes) -> float:
    from cryptography import x509  # only where something speaks TLS

    end = x509.load_der_x509_certificate(certificate).not_valid_after_utc
    return end.astimezone(datetime.UTC).timestamp()
