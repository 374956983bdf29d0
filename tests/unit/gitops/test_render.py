"""From a release to manifests."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import pytest
from ruamel.yaml import YAML

from gitops import render
from gitops.rendering.surroundings import Surroundings
from pipeline.domains import Domains
from pipeline.errors import Invalid, Refused
from pipeline.servicefile import Overrides, ReleaseJob, ServiceSpec
from tests.support.rendered import CASES, GOLDEN, WEB, Case, release


def document(files: dict[str, bytes], name: str) -> Any:
    return YAML(typ="safe", pure=True).load(io.BytesIO(files[name]))


def test_every_file_starts_with_the_header() -> None:
    first = b"# Rendered by Enclii from release v41; changes here are overwritten. Edit enclii.yaml instead.\n"
    files = render.render(release(ServiceSpec(name="web", port=80)), WEB)
    assert sorted(files) == ["deployment.yaml", "networkpolicy.yaml", "service.yaml", "serviceaccount.yaml"]
    assert all(data.startswith(first) and render.is_ours(data) for data in files.values())


def test_the_same_release_is_the_same_bytes() -> None:
    one, other = ({"B": "1", "A": "2"}, {"A": "2", "B": "1"})
    rendered = [render.render(release(ServiceSpec(name="web", env=env)), WEB) for env in (one, other)]
    assert rendered[0] == rendered[1]


def test_a_worker_has_no_service() -> None:
    assert "service.yaml" not in render.render(release(ServiceSpec(name="web")), WEB)


def test_no_manifest_names_a_namespace() -> None:
    files = render.render(release(ServiceSpec(name="web", port=80, replicas=3)), WEB)
    assert not any("namespace" in document(files, name)["metadata"] for name in files)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_rendered_is_what_is_kept(case: Case) -> None:
    kept = {path.name: path.read_bytes() for path in sorted((GOLDEN / case.name).iterdir())}
    assert case.files() == kept


@pytest.mark.parametrize(("user", "expected"), [("", 65532), ("root", 65532), ("0", 65532), ("app", 65532)])
def test_an_image_without_a_numbered_user_runs_as_the_default(user: str, expected: int) -> None:
    pod = pod_of(ServiceSpec(name="web"), user=user)
    assert pod["spec"]["securityContext"]["runAsUser"] == expected
    assert pod["metadata"]["annotations"]["enclii.dev/default-user"] == str(expected)


@pytest.mark.parametrize("user", ["1000", "1000:2000"])
def test_an_images_own_number_is_left_to_it(user: str) -> None:
    pod = pod_of(ServiceSpec(name="web"), user=user)
    assert "runAsUser" not in pod["spec"]["securityContext"]
    assert "enclii.dev/default-user" not in pod["metadata"]["annotations"]


def test_the_files_number_counts_more_than_the_images() -> None:
    assert pod_of(ServiceSpec(name="web", user=7), user="1000")["spec"]["securityContext"]["runAsUser"] == 7


def test_a_release_job_changes_its_name_with_its_content() -> None:
    jobs = [
        document(
            render.render(release(ServiceSpec(name="web", release=ReleaseJob(command=words))), WEB), "release.yaml"
        )
        for words in (("migrate",), ("migrate", "-v"))
    ]
    assert jobs[0]["metadata"]["name"] != jobs[1]["metadata"]["name"]


def test_a_domain_needs_a_port() -> None:
    around = Surroundings(Domains(hosts={"web": ("shop.example.com",)}))
    with pytest.raises(Invalid, match="port"):
        render.render(release(ServiceSpec(name="web")), WEB, around)


def test_a_scaled_service_keeps_its_count() -> None:
    files = render.render(release(ServiceSpec(name="web", replicas=2)), WEB, Surroundings(replicas=5))
    assert document(files, "deployment.yaml")["spec"]["replicas"] == 5


def test_the_clusters_account_at_the_registry_is_the_service_accounts() -> None:
    around = Surroundings(pull_secret="registry")
    spec = ServiceSpec(name="web", port=8080)

    told = document(render.render(release(spec), WEB, around), "serviceaccount.yaml")

    assert told["imagePullSecrets"] == [{"name": "registry"}]
    assert "imagePullSecrets" not in document(render.render(release(spec), WEB), "serviceaccount.yaml")


def pod_of(spec: ServiceSpec, *, user: str) -> Any:
    made = msgspec.structs.replace(release(spec), user=user)
    return document(render.render(made, WEB), "deployment.yaml")["spec"]["template"]


def test_the_environments_overrides_are_applied() -> None:
    spec = ServiceSpec(name="web", environments={"production": Overrides(replicas=7)})
    assert document(render.render(release(spec), WEB), "deployment.yaml")["spec"]["replicas"] == 7


def test_a_secret_that_was_never_set_is_refused_with_the_command_that_sets_it() -> None:
    with pytest.raises(Refused, match="enclii secret set TOKEN -p shop -e production -s web") as caught:
        render.render(release(ServiceSpec(name="web", secrets=("TOKEN",))), WEB)
    assert caught.value.reason == "secret_missing"


def test_an_image_by_tag_is_refused() -> None:
    with pytest.raises(Invalid):
        render.render(release(ServiceSpec(name="web"), image="registry.example/web:latest"), WEB)
