"""What in a directory of a person's files could name a service's image, and which of it does.

Nothing is guessed: where more than one image could be meant, all of them are listed and a person says which.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gitops.editing import pinning, spans, targets, yamlpath
from gitops.editing.spans import Node, Parsed, Scalar
from gitops.editing.targets import Slots, Target
from gitops.editing.yamlpath import Path
from gitops.layout import HOLD_FILE, PROJECT_FILE, TARGETS_FILE
from pipeline.errors import EncliiError, Refused

KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
YAML_ENDINGS = (".yaml", ".yml")
_OWN = frozenset({PROJECT_FILE, HOLD_FILE, TARGETS_FILE})


@dataclass(frozen=True)
class Candidate:
    """One target that could be meant, the image that it names now, and the places that it would edit."""

    target: Target
    image: str
    places: tuple[Path, ...]
    lines: tuple[str, ...] = ()
    """Each of these places with its line and what it says now."""

    @property
    def spelling(self) -> str:
        """What a person writes to choose it."""
        container = f"/{self.target.container}" if self.target.container else ""
        return f"{self.target.kind}:{self.target.at}{container}"

    def __str__(self) -> str:
        return f"{self.spelling}  {self.image}  in {self.target.file}"

    @property
    def repository(self) -> str:
        return pinning.repository(self.image)


@dataclass(frozen=True)
class Found:
    """Every candidate, and why some files were passed over."""

    candidates: tuple[Candidate, ...]
    skipped: tuple[str, ...]


def look(files: Mapping[str, bytes]) -> Found:
    """Every candidate in these files, by their paths. A file that is no YAML is passed over with its reason."""
    found: list[Candidate] = []
    skipped: list[str] = []
    for path in sorted(files):
        name = path.rpartition("/")[2]
        if name in _OWN or not (name.endswith(YAML_ENDINGS) or name in KUSTOMIZATIONS):
            continue
        try:
            found += _different(_in_file(path, name, spans.parse(files[path])))
        except EncliiError as error:
            skipped.append(f"{path}: {error.message}")
    return Found(tuple(found), tuple(skipped))


def _in_file(path: str, name: str, file: Parsed) -> Iterator[Candidate]:
    if name in KUSTOMIZATIONS:
        yield from _tried(file, (Target(path, "kustomize", image) for image, _ in targets.images(file)))
        return
    pods = [(f"{kind}/{called}", pod) for kind, called, pod in targets.workloads(file)]
    for at, pod in pods:
        yield from _tried(file, (Target(path, "workload", at, called) for called, _ in targets.containers(file, pod)))
    if not any(_is_manifest(root) for root in file.documents):
        yield from _tried(file, _values(path, file))
    policies = dict.fromkeys(policy for policy, _, _ in targets.markers(file))
    yield from _tried(file, (Target(path, "policy", policy) for policy in policies))


def _is_manifest(root: Node | None) -> bool:
    kind = yamlpath.text(root, "kind")
    return bool(kind and yamlpath.text(root, "apiVersion")) and kind != "HelmRelease"


def _values(path: str, file: Parsed) -> Iterator[Target]:
    """Places of Helm values: a mapping with a repository, or a text, whose key is or ends with ``image``."""
    for where, node in _mappings(file):
        *_, key = where
        one = isinstance(node, Scalar) and isinstance(key, str) and key.lower().endswith("image") and node.value
        parts = bool(yamlpath.entries(node, "repository")) and bool(
            yamlpath.entries(node, "tag") or yamlpath.entries(node, "digest")
        )
        if one or parts:
            yield Target(path, "helm", yamlpath.shown((0, *where[1:])), document=_document(where))


def _document(where: Path) -> int | None:
    return int(where[0]) or None


def _mappings(file: Parsed) -> Iterator[tuple[Path, Node]]:
    seen: set[Path] = set()
    for path, node in yamlpath.scalars(file):
        yield path, node
        for length in range(2, len(path)):
            if path[:length] not in seen:
                seen.add(path[:length])
                yield from _reached(file, path[:length])


def _reached(file: Parsed, path: Path) -> Iterator[tuple[Path, Node]]:
    try:
        yield path, yamlpath.at(file, path)
    except Refused:
        return


def _tried(file: Parsed, several: Iterable[Target]) -> Iterator[Candidate]:
    """Those that lead to values that may be edited; the others a person can still name, and is told why not."""
    for target in several:
        try:
            groups: tuple[Slots, ...] = targets.find(target, file)
            image = pinning.read(file, groups[0])
        except Refused:
            continue
        places = tuple(path for one in groups for _, path in one.places)
        yield Candidate(target, image, places, tuple(_line(target, file, path) for path in places))


def _line(target: Target, file: Parsed, path: Path) -> str:
    node = yamlpath.scalar(file, path)
    number = file.text.count("\n", 0, node.start) + 1
    return f"{target.file}:{number}  {yamlpath.shown(path)}: {node.value}"


def _different(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Without those that edit what an earlier one edits already: a marker behind a container's image is that image."""
    kept: list[Candidate] = []
    taken: set[Path] = set()
    for one in candidates:
        if not taken & set(one.places):
            kept.append(one)
            taken |= set(one.places)
    return kept


def choose(found: Found, *, service: str, wanted: Sequence[str] = ()) -> tuple[Candidate, ...]:
    """The candidates that are the service's. Raises Refused that lists all when that is not clear."""
    if wanted:
        return tuple(_named(found, text) for text in dict.fromkeys(wanted))
    if not found.candidates:
        why = "nothing here names an image that could be edited (a kustomization needs an entry in `images:`)"
        raise Refused("\n".join([why, *found.skipped]), reason="nothing_to_adopt")
    named = [one for one in found.candidates if service in _names(one)]
    images = {one.repository for one in named or found.candidates}
    if len(images) != 1:
        raise Refused(_listed("several images are named here; say which by --target", found), reason="ambiguous_image")
    (image,) = images
    chosen = tuple(one for one in found.candidates if one.repository == image)
    values = {one.target.file for one in chosen if one.target.kind == "helm"}
    if len({one.image for one in chosen}) != 1 or len(values) > 1:
        raise Refused(
            _listed("several files or versions name it; say which by --target", found), reason="ambiguous_image"
        )
    return chosen


def _names(candidate: Candidate) -> set[str]:
    """The names by which a candidate may be a service's."""
    target = candidate.target
    last = candidate.repository.rpartition("/")[2]
    if target.kind == "workload":
        return {target.container}
    if target.kind == "helm":
        return {last, *target.at.split(".")}
    return {last, target.at.rpartition("/")[2], target.at.rpartition(":")[2]}


def _named(found: Found, text: str) -> Candidate:
    matching = [one for one in found.candidates if text in (one.spelling, f"{one.target.file}:{one.spelling}")]
    if len(matching) != 1:
        what = "is there several times; put FILE: before it" if matching else "is not here"
        raise Refused(
            _listed(f"{text[:120]} {what}", found), reason="ambiguous_image" if matching else "no_such_target"
        )
    return matching[0]


def _listed(said: str, found: Found) -> str:
    return "\n".join(
        [said, *(f"  {one}" for one in found.candidates), *(f"  passed over: {one}" for one in found.skipped)]
    )
