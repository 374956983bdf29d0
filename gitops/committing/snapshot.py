"""What a service's directory says at one commit: the image, the release it was rendered from, and the hold.

A directory may have been edited by anybody; what cannot be read is an error of that directory alone.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from gitops import hold as holds
from gitops.editing.adopted import Adopted
from gitops.hold import Hold
from gitops.layout import HOLD_FILE, is_manifest
from gitops.render import DOMAIN
from pipeline.errors import Invalid

WORKLOADS = frozenset({"Deployment", "StatefulSet", "DaemonSet"})
FILE_LIMIT = 1 << 20


@dataclass(frozen=True)
class Snapshot:
    """One directory as git has it; ``tree`` is "" when there is none."""

    tree: str = ""
    image: str = ""
    release: str = ""
    sha: str = ""
    hold: Hold | None = None
    people: Adopted | None = None
    """What Enclii edits there, where the files belong to people."""


def read(tree: str, files: Mapping[str, bytes], *, people: Adopted | None = None) -> Snapshot:
    """Read a directory. Raises Invalid, naming the file, for YAML that does not parse or has no workload.

    Of one whose files belong to ``people`` the image alone is read: no release is told by what they wrote.
    """
    held = holds.parse(files[HOLD_FILE]) if HOLD_FILE in files else None
    if people is not None:
        return Snapshot(tree, people.named(), hold=held, people=people)
    for filename in sorted(files):
        if not is_manifest(filename):
            continue
        for document in _documents(filename, files[filename]):
            if document.get("kind") in WORKLOADS:
                return _of_workload(filename, document, tree, held)
    raise Invalid("no manifest here has a workload", reason="no_workload")


def _documents(filename: str, data: bytes) -> Iterator[dict[str, Any]]:
    if len(data) > FILE_LIMIT:
        raise Invalid(f"{filename} is larger than {FILE_LIMIT >> 10} KiB", reason="manifest_too_large")
    try:
        for document in YAML(typ="safe", pure=True).load_all(io.BytesIO(data)):
            if document is not None and not isinstance(document, dict):
                raise Invalid(f"{filename} holds a document that is not a mapping", reason="bad_manifest")
            yield document or {}
    except (YAMLError, ValueError, RecursionError) as error:
        where = str(getattr(error, "problem_mark", "") or "").strip().partition(",")[2]
        raise Invalid(f"{filename} is not valid YAML{where}", reason="bad_yaml") from None


def _of_workload(filename: str, document: dict[str, Any], tree: str, held: Hold | None) -> Snapshot:
    try:
        annotations = document["metadata"].get("annotations") or {}
        image = document["spec"]["template"]["spec"]["containers"][0]["image"]
    except (KeyError, IndexError, TypeError, AttributeError):
        raise Invalid(f"{filename} has no container with an image", reason="bad_manifest") from None
    return Snapshot(
        tree=tree,
        image=str(image),
        release=str(annotations.get(f"{DOMAIN}/release") or ""),
        sha=str(annotations.get(f"{DOMAIN}/commit") or ""),
        hold=held,
    )
