"""``enclii bootstrap``, run as a person would in a working copy of the config repository."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from console.cli import run
from gitops.wiring import bare_address

REPO = "https://git.example/enclii/config.git"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A working copy with one service in each of two environments, which are on two clusters."""
    subprocess.run(("git", "init", "-q", str(tmp_path)), check=True)
    origin = REPO.replace("://", "://enclii:secret@")
    subprocess.run(("git", "-C", str(tmp_path), "remote", "add", "origin", origin), check=True)
    for environment in ("production", "staging"):
        (tmp_path / "shop" / environment / "web").mkdir(parents=True)
        (tmp_path / "shop" / environment / "web/deployment.yaml").write_text("kind: Deployment\n")
    (tmp_path / "shop/project.yaml").write_text(
        "environments:\n  production: {branch: main, cluster: east}\n  staging: {branch: next, cluster: west}\n"
    )
    return tmp_path


def bootstrap(config: Path, *words: str) -> int:
    return run(("bootstrap", *words), {}, config)


def documents(text: str) -> list[dict[str, Any]]:
    return list(YAML(typ="safe", pure=True).load_all(text))


def kinds(text: str) -> list[str]:
    return [one["kind"] for one in documents(text)]


def test_argo_cd_s_documents_are_of_one_cluster_s_services(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bootstrap(config, "argocd", "east", "--render") == 0

    found = documents(capsys.readouterr().out)
    assert [one["kind"] for one in found] == ["AppProject", "Namespace", "Application"]
    assert found[2]["metadata"]["name"] == "shop.production.web"
    assert not (config / "clusters").exists()


def test_the_login_of_the_origin_is_in_no_document(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for tool in ("argocd", "flux"):
        bootstrap(config, tool, "east", "--render")

    said = capsys.readouterr()
    assert "secret@" not in said.out + said.err
    assert said.out.count(REPO) == 3  # of the AppProject, the Application and the GitRepository


def test_the_documents_are_written_beside_the_services(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bootstrap(config, "argocd", "west") == 0

    folder = config / "clusters/west"
    assert sorted(path.name for path in folder.iterdir()) == ["argocd-project.yaml", "argocd-services.yaml"]
    assert f"kubectl apply -f {folder}" in capsys.readouterr().err


def test_one_application_set_stands_for_all_services(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bootstrap(config, "argocd", "east", "--applicationset", "--render")

    made = documents(capsys.readouterr().out)[-1]
    excluded = [one["path"] for one in made["spec"]["generators"][0]["git"]["directories"] if one.get("exclude")]
    assert (made["kind"], excluded) == ("ApplicationSet", ["shop/staging/*"])


def test_flux_gets_a_kustomization_for_each_service(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bootstrap(config, "flux", "east", "--render") == 0

    assert kinds(capsys.readouterr().out) == ["GitRepository", "Receiver", "Namespace", "Kustomization"]


def test_a_first_run_before_the_first_push_needs_the_address_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bootstrap(tmp_path, "argocd", "east") == 2
    assert "--repo" in capsys.readouterr().err

    assert bootstrap(tmp_path, "argocd", "east", "--repo", REPO, "--render") == 0
    assert kinds(capsys.readouterr().out) == ["AppProject"]


@pytest.mark.parametrize("tool", ["argocd", "flux"])
def test_a_broken_project_file_is_named_and_all_others_are_written(
    config: Path, capsys: pytest.CaptureFixture[str], tool: str
) -> None:
    (config / "other").mkdir()
    (config / "other/project.yaml").write_text("environments: [\n")

    assert bootstrap(config, tool, "east", "--render") == 6
    told = capsys.readouterr()
    assert "left out: other: project.yaml" in told.err
    assert "shop.production.web" in told.out


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://a:b@git.example/x.git", "https://git.example/x.git"),
        ("ssh://git@git.example/x.git", "ssh://git@git.example/x.git"),
    ],
)
def test_only_a_login_is_taken_out_of_an_address(given: str, kept: str) -> None:
    assert bare_address(given) == kept
