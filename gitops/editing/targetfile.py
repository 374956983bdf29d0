"""``enclii-targets.yaml``: which values in people's files name a service's image, and what it was when it was adopted.

It lies in the service's own directory. A ``file`` is beside it, or anywhere in the config repository when it begins
with a slash.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from gitops import emit
from gitops.editing import spans, yamlpath
from gitops.editing.spans import Mapping, Node, Scalar, Sequence
from gitops.editing.targets import PARTS, Kind, Part, Target
from gitops.layout import HOLD_FILE, PROJECT_FILE, TARGETS_FILE
from pipeline.errors import EncliiError, Invalid

HEADER = "Enclii deploys this service by editing the image at exactly these places; all else belongs to people."
KINDS: tuple[Kind, ...] = ("workload", "kustomize", "helm", "path", "policy")
MOST = 50
_KEYS = frozenset({"file", "container", "value", "document", *KINDS})
_RESERVED = frozenset({PROJECT_FILE, HOLD_FILE, TARGETS_FILE})


@dataclass(frozen=True)
class TargetFile:
    """A service whose files belong to people; ``image`` is the one that they named before Enclii's first release."""

    targets: tuple[Target, ...]
    image: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        """The paths of the files that are edited, from the config repository's root."""
        return tuple(dict.fromkeys(target.file for target in self.targets))


def render(found: TargetFile, directory: str) -> bytes:
    """The file as it lies in ``directory``."""
    targets = [_entry(target, directory) for target in found.targets]
    return emit.document({"adopted": {"image": found.image}, "targets": targets}, header=HEADER)


def _entry(target: Target, directory: str) -> dict[str, object]:
    inside, name = posixpath.split(target.file)
    entry: dict[str, object] = {"file": name if inside == directory else f"/{target.file}", target.kind: target.at}
    if target.container:
        entry["container"] = target.container
    if target.kind == "path" and target.value != "image":
        entry["value"] = target.value
    if target.document is not None:
        entry["document"] = target.document
    return entry


def parse(data: bytes, directory: str) -> TargetFile:
    """Read the file of ``directory``. Raises Invalid that names the field."""
    try:
        file = spans.parse(data)
    except Invalid as error:
        raise _wrong(error.message) from None
    root = file.documents[0] if file.documents else None
    listed = yamlpath.entries(root, "targets")
    items = listed[0].items if len(listed) == 1 and isinstance(listed[0], Sequence) else []
    if not 0 < len(items) <= MOST:
        raise _wrong(f"`targets` must be a list of 1 to {MOST}")
    adopted = yamlpath.entries(root, "adopted")
    image = yamlpath.text(adopted[0], "image") if adopted else None
    return TargetFile(tuple(_target(item, f"targets[{at}]", directory) for at, item in enumerate(items)), image or "")


def _target(node: Node, where: str, directory: str) -> Target:
    fields = _fields(node, where)
    kinds = [kind for kind in KINDS if kind in fields]
    if len(kinds) != 1:
        raise _wrong(f"{where} needs exactly one of {', '.join(KINDS)}")
    value = next((part for part in PARTS if part == fields.get("value", "image")), None)
    if value is None:
        raise _wrong(f"{where}.value must be one of {', '.join(PARTS)}")
    return made(
        fields.get("file", ""), kinds[0], fields[kinds[0]], directory=directory, where=where,
        container=fields.get("container", ""), value=value, document=_number(fields.get("document"), where),
    )  # fmt: skip


def made(
    file: str, kind: Kind, at: str, *, directory: str, where: str = "the target", container: str = "",
    value: Part = "image", document: int | None = None,
) -> Target:  # fmt: skip
    """One target, its file made a path from the root. Raises Invalid."""
    path = file[1:] if file.startswith("/") else f"{directory}/{file}"
    parts = path.split("/")
    if not file or any(part in ("", ".", "..", ".git") for part in parts) or parts[-1] in _RESERVED or "\0" in path:
        raise _wrong(f"{where}.file {file[:200]!r} is not the path of a person's file in the config repository")
    if kind in ("helm", "path"):
        try:
            yamlpath.parsed(at)
        except EncliiError as error:
            raise _wrong(f"{where}.{kind}: {error.message}") from None
    return Target(path, kind, at, container, value, document)


def _fields(node: Node, where: str) -> dict[str, str]:
    if not isinstance(node, Mapping):
        raise _wrong(f"{where} must be a mapping")
    found: dict[str, str] = {}
    for key, value in node.entries:
        name = key.value if isinstance(key, Scalar) else ""
        if name not in _KEYS or name in found or not isinstance(value, Scalar):
            raise _wrong(f"{where} has an unknown or doubled key, or one without a single value: {name[:60]!r}")
        found[name] = value.value
    return found


def _number(text: str | None, where: str) -> int | None:
    if text is None or (text.isdecimal() and len(text) < 5):
        return None if text is None else int(text)
    raise _wrong(f"{where}.document must be a number, the first is 0")


def _wrong(what: str) -> Invalid:
    return Invalid(f"{TARGETS_FILE}: {what}", reason="bad_targets")
