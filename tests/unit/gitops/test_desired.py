"""What git wants of one service, from the files of its directory."""

from __future__ import annotations

import pytest

from gitops.syncing.desired import wanted_from
from pipeline.errors import Invalid
from pipeline.records import Deployment

DEPLOYMENT = Deployment(
    id="d-1", project="shop", environment="production", service="web", release="shop.web.v7", image="r/web@sha256:7",
    status="pending", config_commit="c" * 40,
)  # fmt: skip


def test_the_documents_of_all_manifests_are_wanted_and_no_note_is() -> None:
    files = {"a.yaml": b"kind: A\n---\nkind: B\n", "hold.yaml": b"by: ada\n", "notes.txt": b"x", "b.yml": b"kind: C\n"}

    wanted = wanted_from(DEPLOYMENT, files)

    assert [one["kind"] for one in wanted.documents] == ["A", "B", "C"]
    assert (wanted.release, wanted.revision, wanted.adopted) == ("v7", "c" * 40, False)


def test_an_adopted_service_says_which_files_hold_its_image_and_what_renders_its_directory() -> None:
    targets = b"targets:\n- {file: /apps/web/values.yaml, helm: image}\n- {file: kustomization.yaml, kustomize: web}\n"

    wanted = wanted_from(DEPLOYMENT, {"enclii-targets.yaml": targets, "kustomization.yaml": b"images: []\n"})

    assert wanted.adopted
    assert wanted.targets == ("apps/web/values.yaml", "shop/production/web/kustomization.yaml")
    assert wanted.tool == "kustomize"


@pytest.mark.parametrize("data", [b"a: [", b"a: 1\n b: 2", b"\xff\xfe", b"a: &a [*b]"])
def test_a_file_that_is_no_yaml_is_named(data: bytes) -> None:
    with pytest.raises(Invalid) as caught:
        wanted_from(DEPLOYMENT, {"deployment.yaml": b"kind: Deployment", "theirs.yaml": data})

    assert caught.value.reason == "invalid_yaml"
    assert "theirs.yaml" in caught.value.message


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("{kind: Deployment, spec: x}", "spec must be a mapping"),
        ("{kind: ConfigMap, metadata: []}", "metadata must be a mapping"),
        ("{kind: Deployment, metadata: {name: web, labels: x}}", "Deployment web: metadata.labels must be a mapping"),
        ("{kind: Deployment, spec: {replicas: many}}", "spec.replicas must be a number"),
        ("{kind: Deployment, spec: {template: {spec: {containers: [x]}}}}", "containers.* must be a mapping"),
        ("{kind: Service, spec: {ports: {http: 80}}}", "spec.ports must be a list"),
        ("{kind: Ingress, spec: {rules: [x]}}", "spec.rules.* must be a mapping"),
    ],
)
def test_a_document_of_another_shape_than_its_kind_is_named_with_the_field(document: str, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        wanted_from(DEPLOYMENT, {"theirs.yaml": document.encode()})

    assert caught.value.reason == "unsupported_manifest"
    assert said in caught.value.message
    assert "theirs.yaml" in caught.value.message


@pytest.mark.parametrize("text", ["{kind: Deployment, spec: null}", "{kind: Widget, spec: [1]}", "image: {tag: v1}"])
def test_what_is_left_empty_or_is_of_another_kind_is_the_clusters_to_judge(text: str) -> None:
    assert len(wanted_from(DEPLOYMENT, {"theirs.yaml": text.encode()}).documents) == 1
