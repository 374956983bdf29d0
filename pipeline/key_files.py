"""Keys that are read anew when their files change, so that a key replaced while we run is the one that counts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, overload

from pipeline.errors import Invalid
from pipeline.keys import load_public
from pipeline.trust import Trusted, accepted

if TYPE_CHECKING:
    from pipeline.settings import Settings

log = logging.getLogger(__name__)


class KeyFiles(Sequence[Trusted]):
    """What ``load`` makes of the files in ``places`` (files, or folders of ``*.pub``), whenever they say otherwise.

    A change that is no key, or that goes on while it is read, leaves what was read before: a file that is copied over
    is half written for a moment. The first reading raises Invalid. Iterate once for one decision.
    """

    def __init__(self, places: Sequence[Path], load: Callable[[], Sequence[Trusted]]) -> None:
        self._places, self._load = places, load
        self._seen: Mapping[Path, bytes] = self._content()
        self._refused: Mapping[Path, bytes] | None = None
        self._keys = tuple(load())

    def __iter__(self) -> Iterator[Trusted]:
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._now())

    @overload
    def __getitem__(self, index: int) -> Trusted: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Trusted]: ...

    def __getitem__(self, index: int | slice) -> Trusted | Sequence[Trusted]:
        return self._now()[index]

    def _now(self) -> tuple[Trusted, ...]:
        content = self._content()
        if content != self._seen:
            self._read_anew(content)
        return self._keys

    def _read_anew(self, content: Mapping[Path, bytes]) -> None:
        try:
            keys = tuple(self._load())
        except Invalid as error:
            if content != self._refused:
                log.warning("keys were changed and cannot be read, those of before stay: %s", error)
            self._refused = content
            return
        if self._content() == content:
            log.info("keys were changed and read anew: %d are known", len(keys))
            self._keys, self._seen = keys, content

    def _content(self) -> dict[Path, bytes]:
        """Compared by what they say: a copy may keep a file's time, size and number."""
        return {path: _read(path) for place in self._places for path in (sorted(place.glob("*.pub")) or (place,))}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def accepted_keys(told: Settings) -> KeyFiles:
    """All that the settings accept, as ``accepted`` reads it. Raises Invalid."""
    own = told.sigstore_root if told.keyless_identity or told.keyless_issuer else told.verify_key
    places = [told.below_home(one) for one in (own, *told.verify_keys, *told.retired_keys)]
    return KeyFiles(places, lambda: accepted(told))


def preview_keys(told: Settings) -> KeyFiles:
    """What previews may be signed with. Raises Invalid."""
    path = told.below_home(told.preview_verify_key)
    return KeyFiles([path], lambda: [load_public(path)])
