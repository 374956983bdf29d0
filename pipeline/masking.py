"""Known secret values taken out of a byte stream: as they are, in base64, in hexadecimal, percent-encoded and
as JSON and forms write them.

A value may lie across two chunks of the stream, so the end of a chunk that could begin one is held back until the
next. In base64 a value has three forms, one for each place in a group of three bytes; only the characters that it
alone decides are looked for. Values of less than ``LEAST`` bytes are left: masking them would hide the log.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote_from_bytes

LEAST = 4
MASK = b"[secret]"
PATH_SAFE = "!*'()"
"""What JavaScript's ``encodeURIComponent`` leaves as it is beside letters, digits and ``-_.~``."""

_WRAPS = (64, 76)
_LOST = (0, 2, 3)  # leading characters of base64 that bytes before the value also decide, by offset


class Masker:
    """Masks one stream; ``mask`` gives back what is certain, a call with ``more=False`` gives the rest."""

    def __init__(self, values: Iterable[bytes] = ()) -> None:
        found = sorted({form for value in values for form in forms(value)}, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, found))) if found else None
        self._longest = len(found[0]) if found else 0
        self._held: dict[str, bytes] = {}

    def mask(self, data: bytes, *, more: bool = False, of: str = "") -> bytes:
        """``data`` without the values; with ``more`` the next call continues it. ``of`` tells streams apart."""
        if self._pattern is None:
            return data
        data = self._held.pop(of, b"") + data
        if not more:
            return self._pattern.sub(MASK, data)
        certain = max(0, len(data) - self._longest + 1)
        for match in self._pattern.finditer(data):
            if match.start() < certain < match.end():
                certain = match.end()
        self._held[of] = data[certain:]
        return self._pattern.sub(MASK, data[:certain])

    def text(self, text: str) -> str:
        """A whole text without the values."""
        return text if self._pattern is None else self._pattern.sub(MASK, text.encode()).decode("utf-8", "replace")


def forms(value: bytes) -> Iterator[bytes]:
    """Every form in which ``value`` is looked for; a value of several lines also line by line."""
    lines = [line.strip() for line in value.splitlines()]
    for part in {value, value.strip(), *lines}:
        if len(part) >= LEAST:
            yield from _forms(part)


def _forms(value: bytes) -> Iterator[bytes]:
    yield value
    for safe in ("", "/", PATH_SAFE):  # as tools encode a part of an address, a path, and a form
        yield (quoted := quote_from_bytes(value, safe=safe).encode())
        yield re.sub(rb"%[0-9A-F]{2}", lambda found: found[0].lower(), quoted)
    yield quote_from_bytes(value, safe=" ").replace(" ", "+").encode()
    yield json.dumps(value.decode("utf-8", "replace"), ensure_ascii=False)[1:-1].encode()
    yield value.hex().encode()
    yield value.hex().upper().encode()
    for offset, lost in enumerate(_LOST):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            encoded = encode(b"\0" * offset + value)
            form = encoded[lost : len(encoded) - _trailing(offset + len(value))]
            if len(form) >= LEAST:
                yield form
    for width in _WRAPS:  # as the program base64 prints a long value
        encoded = base64.b64encode(value)
        wrapped = [encoded[start : start + width] for start in range(0, len(encoded), width)]
        yield from (line for line in wrapped if len(wrapped) > 1 and len(line) >= 2 * LEAST)


def _trailing(length: int) -> int:
    """How many last characters of base64 say more than the value: padding, and bits of what follows."""
    return {0: 0, 1: 3, 2: 2}[length % 3]
