"""Which versions of secrets are kept, and which a rollback would miss."""

from __future__ import annotations

from gitops.secret_versions import forgotten, outdated, referred
from pipeline.records import Deployment, SecretVersion, Target


def target(*, tree: str = "t", version: int = 12) -> Target:
    return Target(
        project="shop", environment="production", service="web", deployment="d", release="r", image="i", sha="s",
        config_commit="c", tree=tree, secrets={"TOKEN": SecretVersion(version=version)},
    )  # fmt: skip


def deployed(number: int) -> Deployment:
    return Deployment(
        id=f"d{number}", project="shop", environment="production", service="web", release="r", image="i",
        status="running", config_commit=f"c{number}", created_at=f"2026-01-{number:02d}", secrets={"TOKEN": number},
    )  # fmt: skip


def test_what_the_last_ten_deployments_name_is_kept() -> None:
    assert outdated(target(), [deployed(number) for number in range(1, 13)]) == [1, 2]


def test_what_git_names_is_kept_however_old() -> None:
    assert outdated(target(version=1), [deployed(number) for number in range(1, 13)]) == [2]


def test_of_a_removed_service_nothing_is_kept() -> None:
    assert outdated(target(tree=""), [deployed(1), deployed(2)]) == [1, 2]


def test_manifests_are_asked_for_the_versions_of_their_own_service() -> None:
    manifest = b"name: web-secrets-v3\nname: web-secrets-v12\nname: other-web-secrets-v4\nname: web-secrets-v5x\n"

    assert referred([manifest], "web") == {3, 12}


def test_a_deployment_whose_version_was_forgotten_names_it() -> None:
    history = [deployed(number) for number in range(1, 13)]
    files = {"deployment.yaml": b"name: web-secrets-v1"}

    assert forgotten(history[0], files, target=target(), deployments=history) == {"TOKEN": 1}
    assert (
        forgotten(history[2], {"deployment.yaml": b"name: web-secrets-v3"}, target=target(), deployments=history) == {}
    )


def test_a_version_that_the_manifests_do_not_ask_for_is_missed_by_nobody() -> None:
    history = [deployed(number) for number in range(1, 13)]

    assert forgotten(history[0], {"deployment.yaml": b"image: i"}, target=target(), deployments=history) == {}
