"""``enclii cluster add`` with a sync tool: flags become the tool's own part of ``clusters.yaml``."""

from __future__ import annotations

from pathlib import Path

import pytest

from console import cli
from gitops.clusters import configured


def add(folder: Path, *words: str) -> int:
    (folder / "kubeconfig").touch()
    (folder / "secret").write_text("signing")
    env = {"ENCLII_HOME": str(folder / "home")}
    return cli.run(["cluster", "add", "east", "--kubeconfig", "kubeconfig", *words], env, folder)


def entry(folder: Path) -> configured.Entry:
    return configured.read(folder / "home" / "clusters.yaml")["east"]


HINTED = ("--url", "https://tool.example", "--secret-file", "secret")


def test_argo_cd_is_told_by_flags(tmp_path: Path) -> None:
    assert add(tmp_path, "--sync", "argocd", *HINTED, "--repo", "https://git.example/c.git") == 0

    secret = str(tmp_path / "secret")
    repo = "https://git.example/c.git"
    assert entry(tmp_path).argocd == {"url": "https://tool.example", "webhook_secret_file": secret, "repo": repo}


def test_flux_is_told_by_the_same_flags(tmp_path: Path) -> None:
    assert add(tmp_path, "--sync", "flux", *HINTED) == 0

    assert entry(tmp_path).flux == {"receiver_url": "https://tool.example", "token_file": str(tmp_path / "secret")}


def test_what_was_written_by_hand_stays_when_another_flag_is_given(tmp_path: Path) -> None:
    add(tmp_path, "--sync", "argocd", *HINTED)
    assert add(tmp_path, "--sync", "argocd", "--pod-security", "baseline") == 0

    assert entry(tmp_path).pod_security == "baseline"
    assert entry(tmp_path).argocd["url"] == "https://tool.example"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--sync", "own", "--url", "https://tool.example"), "no_sync_tool"),
        (("--sync", "argocd", "--url", "https://tool.example"), "bad_clusters_file"),
        (("--sync", "argocd", "--url", "tool.example", "--secret-file", "secret"), "bad_clusters_file"),
        (("--sync", "flux", "--url", "https://tool.example", "--secret-file", "nowhere"), "no_secret_file"),
    ],
)
def test_what_would_not_work_is_refused_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], reason: str
) -> None:
    assert add(tmp_path, *words) == 2

    assert f"reason: {reason}" in capsys.readouterr().err
    assert not (tmp_path / "home" / "clusters.yaml").exists()
