"""``clusters.yaml``: what it may say, and how it is changed."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from gitops.clusters import configured
from pipeline.errors import Invalid


def test_a_cluster_is_read_with_its_defaults(tmp_path: Path) -> None:
    (tmp_path / "clusters.yaml").write_text("west: {kubeconfig: west.kubeconfig}\n")
    entry = configured.read(tmp_path / "clusters.yaml")["west"]

    assert (entry.kubeconfig, entry.sync, entry.pod_security) == (tmp_path / "west.kubeconfig", "own", "restricted")


def test_no_file_is_no_cluster(tmp_path: Path) -> None:
    assert configured.read(tmp_path / "clusters.yaml") == {}


@pytest.mark.parametrize(
    "text",
    [
        "west: {}",
        "west: {kubeconfig: a, in_cluster: true}",
        "west: {kubeconfig: a, sync: helm}",
        "west: {kubeconfig: a, colour: red}",
        "podman: {kubeconfig: a}",
        "West: {kubeconfig: a}",
        "[west]",
        "west: {kubeconfig: a",
    ],
)
def test_what_is_wrong_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid):
        configured.parse(text.encode(), tmp_path)


def test_adding_keeps_what_people_wrote_and_removing_takes_one_away(tmp_path: Path) -> None:
    data = b"# ours\nwest:\n  kubeconfig: a\n"
    more = configured.added(data, "east", {"in_cluster": True}, tmp_path)

    assert more.startswith(b"# ours\n")
    assert set(configured.parse(more, tmp_path)) == {"west", "east"}
    assert set(configured.parse(configured.removed(more, "west", tmp_path), tmp_path)) == {"east"}


def test_nobody_else_reads_the_file(tmp_path: Path) -> None:
    configured.write(tmp_path / "clusters.yaml", b"{}\n")

    assert stat.S_IMODE((tmp_path / "clusters.yaml").stat().st_mode) == 0o600
