"""The image that a person's files name, by their targets: read, replaced by another, and put back as it was.

An image is pinned by digest wherever its values allow it: in ``digest`` where that key is there, else behind the tag
(``v41@sha256:…``), which every reader of image names takes and of which it resolves the digest alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from gitops.editing import spans, splice, yamlpath
from gitops.editing.spans import Parsed
from gitops.editing.targets import Part, Slots, Target, find, joined
from gitops.editing.yamlpath import Path
from pipeline.errors import EncliiError, Invalid, Refused
from pipeline.images import ImageRef

_PINNED = re.compile(r"(?P<tag>[^@]*)@(?P<digest>sha256:[0-9a-f]{64})")
_TAGGED = re.compile(r"(?P<repository>.+?)(?::[^:/@]+)?@(?P<digest>sha256:[0-9a-f]{64})")


def read(file: Parsed, slots: Slots) -> str:
    """The image that the values name, by digest where they have one, else as they are."""
    said = {part: yamlpath.scalar(file, path).value for part, path in slots.places}
    if "image" in said:
        found = _TAGGED.fullmatch(said["image"])
        return f"{found['repository']}@{found['digest']}" if found else said["image"]
    registry = f"{said['registry']}/" if said.get("registry") else ""
    repository = said.get("repository") or slots.repository or registry + said.get("name", "")
    pinned = _PINNED.fullmatch(said.get("pinned", ""))
    digest = said.get("digest") or (pinned["digest"] if pinned else "")
    tag = said.get("tag") or said.get("pinned") or ""
    return f"{repository}@{digest}" if digest else f"{repository}:{tag}" if tag else repository


def repository(image: str) -> str:
    """``ghcr.io/acme/web`` of ``ghcr.io/acme/web:v1`` or ``…@sha256:…``."""
    name = image.partition("@")[0]
    head, colon, tail = name.rpartition(":")
    return head if colon and "/" not in tail else name


def texts(slots: Slots, image: ImageRef, tag: str) -> dict[Path, str]:
    """What each value becomes for ``image``. Raises Refused when the values cannot say it."""
    whole = f"{image.registry}/{image.repository}"
    if slots.repository and slots.repository != whole:
        raise Refused(
            f"the image is {whole}, but the entry {slots.repository} has no newName to say so; add `newName: {whole}`",
            reason="repository_differs",
        )
    said: dict[Part, str] = {
        "image": str(image), "registry": image.registry, "repository": whole, "name": image.repository,
        "tag": tag, "digest": image.digest, "pinned": f"{tag}@{image.digest}",
    }  # fmt: skip
    if not {"image", "digest", "pinned"} & {part for part, _ in slots.places}:
        raise Refused("no value here can hold the image's digest", reason="no_digest_key")
    return {path: said[part] for part, path in slots.places}


Files = Mapping[str, bytes]
"""Path from the config repository's root → bytes, of every file that a target names."""


def groups(targets: Sequence[Target], files: Files) -> dict[str, tuple[Parsed, list[Slots]]]:
    """Each file parsed, with the groups of values in it. Raises Refused and Invalid that name the file."""
    found: dict[str, tuple[Parsed, list[Slots]]] = {}
    for name in dict.fromkeys(target.file for target in targets):
        try:
            if name not in files:
                raise Refused("the file is not there", reason="target_missing")
            file = spans.parse(files[name])
            found[name] = file, joined((one, find(one, file)) for one in targets if one.file == name)
        except EncliiError as error:
            raise type(error)(f"{name}: {error.message}", reason=error.reason) from error
    return found


def image_of(targets: Sequence[Target], files: Files) -> str:
    """The image that all values name. Raises Invalid when they name several, or cannot be found."""
    try:
        named = {read(file, one): name for name, (file, slots) in groups(targets, files).items() for one in slots}
    except Refused as error:
        raise Invalid(error.message, reason=error.reason) from error
    if len(named) != 1:
        said = "; ".join(f"{name}: {image}" for image, name in sorted(named.items()))
        raise Invalid(f"the targets name different images: {said}", reason="targets_disagree")
    return next(iter(named))


def edited(targets: Sequence[Target], files: Files, *, image: ImageRef, tag: str) -> dict[str, bytes]:
    """The files whose bytes change for ``image``. Raises Refused, Invalid."""
    changed: dict[str, bytes] = {}
    for name, (file, slots) in groups(targets, files).items():
        wanted = {path: text for one in slots for path, text in texts(one, image, tag).items()}
        changed[name] = _exact(name, file, wanted)
    return {name: data for name, data in changed.items() if data != files[name]}


def restored(targets: Sequence[Target], files: Files, former: Files) -> dict[str, bytes]:
    """The files whose bytes change when each value is written again as ``former`` has it. Raises Refused, Invalid."""
    changed: dict[str, bytes] = {}
    earlier = groups(targets, former)
    for name, (file, slots) in groups(targets, files).items():
        then, there = earlier[name]
        places = [(path, old) for one, other in zip(slots, there, strict=False) for path, old in _pairs(one, other)]
        if len(places) != sum(len(one.places) for one in there) or len(slots) != len(there):
            raise Refused(f"{name}: the values were other ones then; edit them by hand", reason="targets_changed")
        changed[name] = _exact(name, file, {path: splice.former(then, old) for path, old in places})
    return {name: data for name, data in changed.items() if data != files[name]}


def _pairs(now: Slots, then: Slots) -> Iterator[tuple[Path, Path]]:
    for (part, path), (former, old) in zip(now.places, then.places, strict=False):
        if part == former:
            yield path, old


def _exact(name: str, file: Parsed, wanted: Mapping[Path, str | splice.Former]) -> bytes:
    try:
        return splice.splice(file, wanted)
    except EncliiError as error:
        raise type(error)(f"{name}: {error.message}", reason=error.reason) from error
