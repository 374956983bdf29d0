from __future__ import annotations

import pytest

from gitops.editing import targetfile
from gitops.editing.targetfile import TargetFile
from gitops.editing.targets import Target
from pipeline.errors import Invalid

WHERE = "shop/production/web"


def test_what_is_written_is_read_again() -> None:
    found = TargetFile(
        (
            Target(f"{WHERE}/stack.yaml", "workload", "Deployment/web", "web"),
            Target("charts/values.yaml", "helm", "web.image", document=1),
            Target("x.yaml", "path", 'a."b.c"[name=web]', value="digest"),
            Target("x.yaml", "policy", "flux-system:web"),
        ),
        "ghcr.io/acme/web:v1",
    )
    assert targetfile.parse(targetfile.render(found, WHERE), WHERE) == found


def test_a_file_beside_is_named_alone_and_one_elsewhere_from_the_root() -> None:
    found = TargetFile((Target(f"{WHERE}/a.yaml", "helm", "i"), Target("b/c.yaml", "helm", "i")))
    text = targetfile.render(found, WHERE).decode()
    assert "file: a.yaml\n" in text
    assert "file: /b/c.yaml\n" in text


@pytest.mark.parametrize(
    "text",
    [
        "", "targets: []", "targets: x", "targets: [x]", "[", "targets: [{file: a}]",
        "targets: [{file: a, helm: i, path: j}]", "targets: [{file: a, helm: [i]}]", "targets: [{file: a, helm: 'i['}]",
        "targets: [{file: a, helm: i, other: j}]", "targets: [{file: a, file: b, helm: i}]",
        "targets: [{file: a, path: i, value: image2}]", "targets: [{file: a, helm: i, document: -1}]",
        "targets: [{helm: i}]", "targets: [{file: ../a, helm: i}]", "targets: [{file: /a/../b, helm: i}]",
        "targets: [{file: /.git/config, helm: i}]", "targets: [{file: a//b, helm: i}]",
        "targets: [{file: /shop/project.yaml, helm: i}]", "targets: [{file: hold.yaml, helm: i}]",
    ],
)  # fmt: skip
def test_what_is_wrong_in_it_is_said(text: str) -> None:
    with pytest.raises(Invalid) as refusal:
        targetfile.parse(text.encode(), WHERE)
    assert refusal.value.reason == "bad_targets"
    assert refusal.value.message.startswith("enclii-targets.yaml: ")
