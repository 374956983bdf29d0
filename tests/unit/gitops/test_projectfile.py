"""Links into project.yaml: what a second one changes, and what it keeps."""

from __future__ import annotations

import pytest

from gitops.projectfile import linked, parse
from pipeline.errors import Invalid
from pipeline.events import LinkRequested


def link(hook: str, *, rotate: bool = False, branches: dict[str, str] | None = None) -> LinkRequested:
    return LinkRequested(
        id="c-1", project="shop", repository="github:o/shop", name="shop", forge="github", hook=hook, rotate=rotate,
        url="https://github.com/o/shop", actor="deployer", branches=branches or {},
    )  # fmt: skip


def test_a_second_link_keeps_the_hook_and_changes_nothing() -> None:
    data = linked(None, link("first"))

    assert linked(data, link("second")) == data


def test_a_rotated_hook_replaces_the_old_one_and_nothing_else() -> None:
    data = linked(None, link("first"))

    parsed = parse(linked(data, link("second", rotate=True)), project="shop")

    assert [one.hook for one in parsed.repositories] == ["second"]
    assert parsed.environments == parse(data, project="shop").environments


def test_a_branch_that_git_would_refuse_is_never_written() -> None:
    with pytest.raises(Invalid):
        linked(None, link("first", branches={"production": "no..branch"}))


def test_an_environment_names_its_cluster_and_its_namespace() -> None:
    place = "cluster: east, namespace: shop-live, pull_secret: registry.key"
    data = f"environments:\n  live: {{branch: main, {place}}}\n  next: {{branch: next}}\n".encode()
    live, after = parse(data, project="shop").environments
    assert (live.cluster, live.namespace, live.pull_secret) == ("east", "shop-live", "registry.key")
    assert (after.cluster, after.namespace, after.pull_secret) == ("", "", "")


@pytest.mark.parametrize(
    "wrong", ["cluster: East", "cluster: 3", "namespace: a_b", "namespace: [x]", "pull_secret: A/b", "pull_secret: [x]"]
)
def test_a_cluster_or_namespace_that_is_no_name_is_refused_by_its_field(wrong: str) -> None:
    with pytest.raises(Invalid, match=rf"environments\.live\.{wrong.partition(':')[0]}"):
        parse(f"environments:\n  live: {{branch: main, {wrong}}}\n".encode(), project="shop")
