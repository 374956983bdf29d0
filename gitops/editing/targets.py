"""The values in a person's files that name a service's image, and how they are found.

A target says where such values are: a workload's container, an entry of kustomize's ``images``, a place in Helm values,
any path, or Flux's markers. It always leads to values that exist: Enclii adds no key to a file that is not its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from gitops.editing import spans, yamlpath
from gitops.editing.spans import Node, Parsed, Scalar
from gitops.editing.yamlpath import Path
from pipeline.errors import Refused

Kind = Literal["workload", "kustomize", "helm", "path", "policy"]
Part = Literal["image", "registry", "repository", "name", "tag", "digest", "pinned"]
"""What a value holds: the whole reference; its host; host and path; its path; a tag; a digest; or ``tag@digest``."""
PARTS: tuple[Part, ...] = ("image", "registry", "repository", "name", "tag", "digest", "pinned")
PODS: Mapping[str, tuple[str, ...]] = {
    "Deployment": ("spec", "template", "spec"),
    "StatefulSet": ("spec", "template", "spec"),
    "DaemonSet": ("spec", "template", "spec"),
    "CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
}
_MARKER = re.compile(r'#[ \t]*\{[ \t]*"\$imagepolicy"[ \t]*:[ \t]*"([^"\r\n]+)"[ \t]*\}')
_BEHIND = re.compile(r"[ \t,\]}]*")


@dataclass(frozen=True)
class Target:
    """One declaration: in ``file`` (from the config repository's root), by ``kind``, at ``at``."""

    file: str
    kind: Kind
    at: str
    """``Deployment/web``, the name in ``images``, a path, or ``namespace:policy``."""
    container: str = ""
    value: Part = "image"
    document: int | None = None

    def __str__(self) -> str:
        return f"{self.file}: {self.kind} {self.at}" + (f", container {self.container}" if self.container else "")


@dataclass(frozen=True)
class Slots:
    """The values that together name one image, and the repository where no value does."""

    places: tuple[tuple[Part, Path], ...]
    repository: str = ""


def find(target: Target, file: Parsed) -> tuple[Slots, ...]:
    """Where the values of a target are. Raises Refused when that is not clear."""
    if target.kind == "workload":
        return (Slots((("image", container(target, file)),)),)
    if target.kind == "kustomize":
        return (_kustomize(target, file),)
    if target.kind == "policy":
        return _marked(target, file)
    path = yamlpath.resolve(file, yamlpath.parsed(target.at), document=target.document)
    if target.kind == "helm":
        return (_helm(file, path),)
    return (Slots(((target.value, path),)),)


def container(target: Target, file: Parsed) -> Path:
    """The image of a workload's container. Raises Refused."""
    kind, _, name = target.at.partition("/")
    found = [pod for found, called, pod in workloads(file) if (found, called) == (kind, name)]
    if len(found) != 1:
        what = "twice" if found else "not there"
        raise Refused(f"{target.at} is {what}", reason="target_ambiguous" if found else "target_missing")
    images = [path for named, path in containers(file, found[0]) if target.container in ("", named)]
    if len(images) != 1:
        what = f"{len(images)} containers" + (f" named {target.container}" if target.container else "")
        raise Refused(
            f"{target.at} has {what}; one is needed", reason="target_ambiguous" if images else "target_missing"
        )
    return images[0]


def workloads(file: Parsed) -> Iterator[tuple[str, str, Path]]:
    """Kind, name and the pod's path of every workload, those in a ``List`` too."""
    for number, root in enumerate(file.documents):
        yield from _workloads(root, (number,))


def _workloads(node: Node | None, path: Path) -> Iterator[tuple[str, str, Path]]:
    kind = yamlpath.text(node, "kind") or ""
    items = yamlpath.entries(node, "items")
    if kind.endswith("List") and len(items) == 1 and isinstance(items[0], spans.Sequence):
        for index, item in enumerate(items[0].items):
            yield from _workloads(item, (*path, "items", index))
    metadata = yamlpath.entries(node, "metadata")
    if kind in PODS and metadata:
        yield kind, yamlpath.text(metadata[0], "name") or "", (*path, *PODS[kind])


def containers(file: Parsed, pod: Path) -> Iterator[tuple[str, Path]]:
    """Name and image path of a pod's containers, those that run first included. Raises Refused for shared ones."""
    node = yamlpath.at(file, pod)
    for key in ("containers", "initContainers"):
        for found in yamlpath.entries(node, key):
            for index, item in enumerate(found.items if isinstance(found, spans.Sequence) else ()):
                yield yamlpath.text(item, "name") or "", (*pod, key, index, "image")


def _kustomize(target: Target, file: Parsed) -> Slots:
    found = [path for name, path in images(file) if name == target.at]
    if len(found) != 1:
        raise Refused(
            f"`images` has {len(found)} entries named {target.at}; one is needed",
            reason="target_ambiguous" if found else "target_missing",
        )
    entry, path = yamlpath.at(file, found[0]), found[0]
    digest, tag = _has(entry, "digest"), _has(entry, "newTag")
    if not (digest or tag):
        raise Refused(f"the entry {target.at} of `images` has neither digest nor newTag", reason="no_digest_key")
    places: list[tuple[Part, Path]] = [("repository", (*path, "newName"))] if _has(entry, "newName") else []
    places += [("digest", (*path, "digest"))] if digest else []
    places += [("tag" if digest else "pinned", (*path, "newTag"))] if tag else []
    return Slots(tuple(places), "" if _has(entry, "newName") else target.at)


def images(file: Parsed) -> Iterator[tuple[str, Path]]:
    """Name and path of every entry of kustomize's ``images``."""
    for number, root in enumerate(file.documents):
        for found in yamlpath.entries(root, "images"):
            for index, item in enumerate(found.items if isinstance(found, spans.Sequence) else ()):
                yield yamlpath.text(item, "name") or "", (number, "images", index)


def _helm(file: Parsed, path: Path) -> Slots:
    node = yamlpath.at(file, path)
    if isinstance(node, Scalar):
        return Slots((("image", path),))
    digest, tag = _has(node, "digest"), _has(node, "tag")
    name = next((key for key in ("repository", "name") if _has(node, key)), "")
    if not name or not (digest or tag):
        raise Refused(
            f"{yamlpath.shown(path)} has not both a repository and a tag or digest",
            reason="no_digest_key" if name else "target_missing",
        )
    # An empty registry or, beside a digest, an empty tag is the chart's way to say that there is none.
    registry = bool(yamlpath.text(node, "registry"))
    places: list[tuple[Part, Path]] = [("registry", (*path, "registry"))] if registry else []
    places.append(("name" if registry else "repository", (*path, name)))
    places += [("digest", (*path, "digest"))] if digest else []
    places += (
        [("tag" if digest else "pinned", (*path, "tag"))] if tag and not (digest and not _text(node, "tag")) else []
    )
    return Slots(tuple(places))


def _has(node: Node, key: str) -> bool:
    return bool(yamlpath.entries(node, key))


def _text(node: Node, key: str) -> str:
    return yamlpath.text(node, key) or ""


def _marked(target: Target, file: Parsed) -> tuple[Slots, ...]:
    found = [(part, path) for _, part, path in markers(file, of=target.at)]
    if not found:
        raise Refused(f"no value is marked with the image policy {target.at}", reason="target_missing")
    parts = tuple((part, path) for part, path in found if part != "image")
    if not any(part == "digest" for part, _ in parts):
        parts = tuple(("pinned" if part == "tag" else part, path) for part, path in parts)
    whole = tuple(Slots(((part, path),)) for part, path in found if part == "image")
    return (*whole, Slots(parts)) if parts else whole


def markers(file: Parsed, *, of: str = "") -> Iterator[tuple[str, Part, Path]]:
    """Policy, part and path of every value behind which one of Flux's image policy markers stands as a comment.

    ``of`` one policy alone, whose unknown parts are refused; those of others are theirs, and stand in nobody's way.
    """
    if "$imagepolicy" not in file.text:
        return
    values = list(yamlpath.scalars(file))
    for mark in _MARKER.finditer(file.text):
        before = [(path, node) for path, node in values if node.start <= mark.start()]
        if not before:
            continue
        path, node = max(before, key=lambda one: one[1].start)
        # A block scalar ends with its line, so that a comment under it stands on a line of its own.
        ended = node.style in ("|", ">")
        if not ended and node.end <= mark.start() and _BEHIND.fullmatch(file.text, node.end, mark.start()):
            namespace, _, rest = mark[1].partition(":")
            policy, _, said = rest.partition(":")
            name = f"{namespace}:{policy}"
            if said in _MARKED and of in ("", name):
                yield name, _MARKED[said], path
            elif name == of:
                raise Refused(f"an image policy marker ends in :{said[:40]}, which is unknown", reason="bad_marker")


_MARKED: Mapping[str, Part] = {"": "image", "name": "repository", "tag": "tag", "digest": "digest"}


def joined(found: Iterable[tuple[Target, tuple[Slots, ...]]]) -> list[Slots]:
    """The groups of several targets of one file: paths that hold parts of an image belong to each other."""
    whole: list[Slots] = []
    parts: list[tuple[Part, Path]] = []
    for target, groups in found:
        if target.kind == "path" and target.value != "image":
            parts += [place for group in groups for place in group.places]
        else:
            whole += groups
    return [*whole, Slots(tuple(parts))] if parts else whole
