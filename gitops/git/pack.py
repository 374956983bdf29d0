"""Git's pack format, written and read for packs of whole objects: one file to sync instead of one for each object.

No object is kept as a difference to another, so entries of several packs can be joined without being opened.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Mapping
from itertools import accumulate

KINDS = {"commit": 1, "tree": 2, "blob": 3}
LEVEL = 1
"""Most bytes here are hashes, on which more effort is lost."""
_IDS = 8 + 256 * 4


def entry(kind: str, data: bytes) -> bytes:
    """One object as a pack holds it."""
    size = len(data)
    head = bytearray([KINDS[kind] << 4 | size & 15])
    size >>= 4
    while size:
        head[-1] |= 128
        head.append(size & 127)
        size >>= 7
    return bytes(head) + zlib.compress(data, LEVEL)


def pack(entries: Mapping[bytes, bytes]) -> tuple[bytes, bytes]:
    """The pack of ``entries`` (by binary id) and its index, both of version 2; less than 2 GiB."""
    parts = [b"PACK" + struct.pack(">II", 2, len(entries))]
    places: list[tuple[bytes, int, int]] = []
    at = len(parts[0])
    for oid, packed in entries.items():
        parts.append(packed)
        places.append((oid, zlib.crc32(packed), at))
        at += len(packed)
    body = b"".join(parts)
    trailer = _sha(body)
    return body + trailer, _index(sorted(places), trailer)


def entries(packed: bytes, index: bytes) -> dict[bytes, bytes]:
    """What a pack that ``pack`` made was made of."""
    count = struct.unpack_from(">I", index, _IDS - 4)[0]
    oids = [index[_IDS + 20 * n : _IDS + 20 * (n + 1)] for n in range(count)]
    offsets = struct.unpack_from(f">{count}I", index, _IDS + 24 * count)
    ends = dict(zip(sorted(offsets), [*sorted(offsets)[1:], len(packed) - 20], strict=True))
    return {oid: packed[offset : ends[offset]] for oid, offset in zip(oids, offsets, strict=True)}


def _index(places: list[tuple[bytes, int, int]], trailer: bytes) -> bytes:
    firsts = [0] * 256
    for oid, *_ in places:
        firsts[oid[0]] += 1
    body = b"\xfftOc" + struct.pack(">I256I", 2, *accumulate(firsts))
    body += b"".join(oid for oid, *_ in places)
    body += struct.pack(f">{len(places)}I", *(crc for _, crc, _ in places))
    body += struct.pack(f">{len(places)}I", *(at for *_, at in places))
    body += trailer
    return body + _sha(body)


def _sha(data: bytes) -> bytes:
    return hashlib.sha1(data, usedforsecurity=False).digest()
