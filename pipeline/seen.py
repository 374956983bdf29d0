"""Content that this process has read from a registry before, by its digest: what cannot change is not read twice.

Only what was checked against its digest comes in here. Which objects lie beside an image is asked anew each time, and
each signature is verified each time: nothing but the transport is saved.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

TOTAL: Final = 8 << 20
LARGEST: Final = 1 << 20


class Seen:
    """Bytes by repository and digest, at most ``total``; those that were not asked for longest go first."""

    def __init__(self, *, total: int = TOTAL, largest: int = LARGEST) -> None:
        self._total, self._largest = total, largest
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._size = 0

    def get(self, repository: str, digest: str) -> bytes | None:
        """The content, when it is kept."""
        key = (repository, digest)
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def keep(self, repository: str, digest: str, content: bytes) -> bytes:
        """Keep what was read and is not too large; the content itself."""
        if len(content) <= self._largest and (repository, digest) not in self._kept:
            self._kept[repository, digest] = content
            self._size += len(content)
            while self._size > self._total:
                self._size -= len(self._kept.popitem(last=False)[1])
        return content

    def forget(self, repository: str, digests: Iterable[str]) -> None:
        """Have these read from the registry the next time."""
        for digest in digests:
            self._size -= len(self._kept.pop((repository, digest), b""))
