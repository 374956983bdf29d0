"""Revisions that a tag once named in the embedded registry, and that nobody asks for any more.

Its garbage collector frees what no manifest names, and keeps every manifest that was ever pushed. The cache of each
build and each list of an image's evidence is written again under the same tag, so those would stay for ever: what was
under such a tag before is forgotten here, while nobody can write. Other manifests without a tag are evidence, and stay.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from pipeline import retention

REPOSITORIES = Path("docker/registry/v2/repositories")


def forget_superseded(storage: Path) -> int:
    """Forget them below the registry's ``storage``; how many there were."""
    gone = list(_superseded(storage / REPOSITORIES))
    for place in gone:
        shutil.rmtree(place, ignore_errors=True)
    return sum(place.parents[1].name == "revisions" for place in gone)


def _superseded(root: Path) -> Iterator[Path]:
    for manifests in root.rglob("_manifests"):
        cache = f"/{manifests.parent.relative_to(root)}".endswith(retention.CACHE)
        tags = [one for one in (manifests / "tags").glob("*") if one.is_dir()]
        named = {_current(one) for one in tags}
        for tag in tags:
            if not cache and not retention.beside(tag.name):
                continue
            for entry in (tag / "index/sha256").glob("*"):
                if f"sha256:{entry.name}" not in named:
                    yield entry
                    yield manifests / "revisions/sha256" / entry.name


def _current(tag: Path) -> str:
    link = tag / "current/link"
    return link.read_text().strip() if link.is_file() else ""
