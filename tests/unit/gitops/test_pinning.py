from __future__ import annotations

import pytest

from gitops.editing import pinning
from gitops.editing.targets import Target
from pipeline.errors import Invalid, Refused
from pipeline.images import ImageRef

DIGEST = "sha256:" + "0123456789abcdef" * 4
IMAGE = ImageRef("registry.example:5000", "shop/web", DIGEST)
WHOLE = "registry.example:5000/shop/web"


def edited(text: str, *targets: Target) -> str:
    changed = pinning.edited(targets, {"/f": text.encode()}, image=IMAGE, tag="v7")
    return changed.get("/f", text.encode()).decode()


def test_a_digest_that_is_there_is_the_one_that_changes_and_the_tag_beside_it_names_the_release() -> None:
    text = "images:\n- name: a\n  newName: b\n  newTag: v1\n  digest: ''\n"
    after = f"images:\n- name: a\n  newName: {WHOLE}\n  newTag: v7\n  digest: '{DIGEST}'\n"
    assert edited(text, Target("/f", "kustomize", "a")) == after


def test_a_tag_alone_is_pinned_by_the_digest_behind_it() -> None:
    text = "images:\n- {name: a, newName: b, newTag: v1}\n"
    after = f"images:\n- {{name: a, newName: {WHOLE}, newTag: v7@{DIGEST}}}\n"
    assert edited(text, Target("/f", "kustomize", "a")) == after


def test_an_entry_without_a_new_name_serves_the_repository_that_it_names_and_no_other() -> None:
    text = f"images:\n- name: {WHOLE}\n  newTag: v1\n"
    assert f"newTag: v7@{DIGEST}" in edited(text, Target("/f", "kustomize", WHOLE))
    with pytest.raises(Refused) as refusal:
        edited("images:\n- name: a\n  newTag: v1\n", Target("/f", "kustomize", "a"))
    assert refusal.value.reason == "repository_differs"
    assert f"newName: {WHOLE}" in refusal.value.message


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("i: {repository: r, tag: v1}", f"i: {{repository: {WHOLE}, tag: v7@{DIGEST}}}"),
        ("i: {repository: r, tag: v1, digest: }", f"i: {{repository: {WHOLE}, tag: v7, digest: {DIGEST}}}"),
        ("i: {repository: r, tag: '', digest: ''}", f"i: {{repository: {WHOLE}, tag: '', digest: '{DIGEST}'}}"),
        ("i: {registry: h, repository: r, tag: v1}",
         f"i: {{registry: registry.example:5000, repository: shop/web, tag: v7@{DIGEST}}}"),
        ("i: {registry: '', repository: r, tag: v1}", f"i: {{registry: '', repository: {WHOLE}, tag: v7@{DIGEST}}}"),
        ("i: r:v1", f"i: {IMAGE}"),
    ],
)  # fmt: skip
def test_helm_values_are_written_in_the_keys_that_they_have(before: str, after: str) -> None:
    assert edited(before, Target("/f", "helm", "i")) == after


@pytest.mark.parametrize("text", ["i: {repository: r}", "i: {tag: v1}", "i: []", "i: {<<: {repository: r, tag: x}}"])
def test_helm_values_that_cannot_say_the_digest_are_refused(text: str) -> None:
    with pytest.raises(Refused):
        edited(text, Target("/f", "helm", "i"))


CRON = (
    "kind: CronJob\nmetadata: {name: web}\nspec:\n  jobTemplate:\n    spec:\n      template:\n        spec:\n"
    "          containers: [{name: web, image: old:v1}]\n"
)
LIST = (
    "kind: List\nitems:\n- kind: Deployment\n  metadata: {name: web}\n"
    "  spec: {template: {spec: {containers: [{name: web, image: old:v1}], initContainers: [{name: i, image: x}]}}}\n"
)


@pytest.mark.parametrize(("text", "at"), [(CRON, "CronJob/web"), (LIST, "Deployment/web")])
def test_a_container_is_found_in_every_kind_of_workload(text: str, at: str) -> None:
    assert edited(text, Target("/f", "workload", at, "web")) == text.replace("old:v1", str(IMAGE))


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (Target("/f", "workload", "Deployment/web"), "target_ambiguous"),
        (Target("/f", "workload", "Deployment/api"), "target_missing"),
        (Target("/f", "workload", "Deployment/web", "x"), "target_missing"),
        (Target("/f", "kustomize", "x"), "target_missing"),
        (Target("/f", "policy", "a:b"), "target_missing"),
        (Target("/g", "helm", "a"), "target_missing"),
    ],
)
def test_a_target_that_leads_nowhere_or_to_several_places_is_refused_with_its_file(target: Target, reason: str) -> None:
    with pytest.raises(Refused) as refusal:
        edited(LIST, target)
    assert refusal.value.reason == reason
    assert refusal.value.message.startswith(target.file)


def test_markers_for_the_parts_of_an_image_are_one_image() -> None:
    keys = {"r: x": "name", "t: v1": "tag", 'd: ""': "digest"}
    text = "".join(f'{line} # {{"$imagepolicy": "ns:p:{part}"}}\n' for line, part in keys.items())
    target = Target("/f", "policy", "ns:p")
    after = edited(text, target)
    assert [line.split(" ")[1] for line in after.splitlines()] == [WHOLE, "v7", f'"{DIGEST}"']
    assert pinning.image_of([target], {"/f": after.encode()}) == str(IMAGE)


def test_paths_to_the_parts_of_an_image_are_one_image() -> None:
    targets = [Target("/f", "path", "r", value="repository"), Target("/f", "path", "t", value="pinned")]
    after = edited("r: x\nt: v1\n", *targets)
    assert after == f"r: {WHOLE}\nt: v7@{DIGEST}\n"
    assert pinning.image_of(targets, {"/f": after.encode()}) == str(IMAGE)


@pytest.mark.parametrize(
    ("text", "image"),
    [
        ("i: ghcr.io/a/b:v1", "ghcr.io/a/b:v1"),
        (f"i: ghcr.io/a/b:v1@{DIGEST}", f"ghcr.io/a/b@{DIGEST}"),
        (f"i: host:5000/b@{DIGEST}", f"host:5000/b@{DIGEST}"),
        ("i: {registry: h, repository: a/b, tag: v1}", "h/a/b:v1"),
        ("i: {repository: a/b, tag: }", "a/b"),
    ],
)
def test_the_image_is_read_by_digest_where_there_is_one(text: str, image: str) -> None:
    assert pinning.image_of([Target("/f", "helm", "i")], {"/f": text.encode()}) == image


def test_targets_that_name_different_images_are_invalid() -> None:
    targets = [Target("/f", "path", "a"), Target("/f", "path", "b")]
    with pytest.raises(Invalid) as refusal:
        pinning.image_of(targets, {"/f": b"a: x:1\nb: x:2\n"})
    assert refusal.value.reason == "targets_disagree"


def test_values_that_were_others_then_are_not_put_back() -> None:
    target = Target("/f", "kustomize", "a")
    now = {"/f": b"images: [{name: a, newName: b, digest: c}]"}
    with pytest.raises(Refused) as refusal:
        pinning.restored([target], now, {"/f": b"images: [{name: a, newName: b, newTag: c}]"})
    assert refusal.value.reason == "targets_changed"


TWO_POLICIES = b'a: x/a:v1 # {"$imagepolicy": "ns:a"}\nb: x/b:v1 # {"$imagepolicy": "ns:b:other"}\n'


def test_a_marker_that_says_something_unknown_stands_in_its_own_policys_way_alone() -> None:
    files = {"values.yaml": TWO_POLICIES}

    assert pinning.image_of([Target("values.yaml", "policy", "ns:a")], files) == "x/a:v1"
    with pytest.raises(Invalid) as caught:
        pinning.image_of([Target("values.yaml", "policy", "ns:b")], files)
    assert caught.value.reason == "bad_marker"
