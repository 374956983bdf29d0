"""What differs between the packages of two images."""

from __future__ import annotations

import asyncio

from console import package_changes
from gitops.gate.evaluation import Package
from pipeline.errors import Refused


def package(purl: str, version: str, name: str = "") -> Package:
    return Package(name or purl.rpartition("/")[2].partition("@")[0], version, purl, ())


OLD = (
    package("pkg:npm/left-pad@1.0.0", "1.0.0"), package("pkg:npm/%40types/node@20.1", "20.1"),
    package("pkg:deb/debian/zlib@1.2", "1.2"), package("", "9", name="by-hand"), package("", "", name="bare"),
)  # fmt: skip
NEW = (
    package("pkg:npm/left-pad@1.0.0", "1.0.0"), package("pkg:npm/left-pad@2.0.0", "2.0.0"),
    package("pkg:npm/%40types/node@20.1", "20.1"), package("pkg:pypi/zlib@1.2", "1.2"),
    package("", "10", name="by-hand"), package("", "", name="bare"),
)  # fmt: skip


def test_what_was_added_removed_or_has_another_version_is_told_by_name() -> None:
    assert package_changes.changes(OLD, NEW) == [
        {"name": "by-hand", "from": "9", "to": "10"},
        {"name": "deb/debian/zlib", "from": "1.2", "to": ""},
        {"name": "npm/left-pad", "from": "1.0.0", "to": "1.0.0, 2.0.0"},
        {"name": "pypi/zlib", "from": "", "to": "1.2"},
    ]


def test_the_same_packages_in_another_order_are_the_same() -> None:
    assert package_changes.changes(OLD, OLD[::-1]) == []


def test_what_cannot_be_found_out_is_told_and_no_change() -> None:
    async def unsigned(release: str) -> tuple[Package, ...]:
        raise Refused(f"no signed SBOM is known of {release}", reason="no_sbom")

    found = asyncio.run(package_changes.between(unsigned, "shop.web.v1", "shop.web.v2"))
    assert (found["changes"], found["total"]) == ([], 0)
    assert found["problem"].startswith("no signed SBOM is known of shop.web.v")
