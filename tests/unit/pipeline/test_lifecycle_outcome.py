"""A Buildpacks builder's labels, exit codes and report, as what they mean."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.builders import BuildFailed
from pipeline.builders.lifecycle_outcome import builder_image, digest_of, of_creator
from pipeline.errors import Permanent, Retryable

DIGEST = "sha256:" + "a" * 64
LABEL = "io.buildpacks.builder.metadata"


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        (20, Permanent, "buildpacks_none_detected"),
        (21, Permanent, "build_failed"),
        (11, Permanent, "builder_image_unsupported"),
        (51, Permanent, "build_failed"),
        (62, Retryable, "registry_unavailable"),
        (32, Retryable, "registry_unavailable"),
        (125, Retryable, "builder_unavailable"),
        (127, Permanent, "builder_image_unsupported"),
    ],
)
def test_an_exit_code_says_who_is_to_blame(code: int, kind: type[Exception], reason: str) -> None:
    error = of_creator(code, "tail", out_of_memory=False)

    assert isinstance(error, kind)
    assert error.reason == reason


def inspected(labels: dict[str, str], env: list[str]) -> bytes:
    return json.dumps([{"Digest": DIGEST, "Labels": labels, "Config": {"Env": env}}]).encode()


def test_a_builder_image_tells_its_user_and_run_image() -> None:
    metadata = json.dumps({"stack": {"runImage": {"image": "run:1"}}})

    found = builder_image("b:1", inspected({LABEL: metadata}, ["CNB_USER_ID=1001", "CNB_GROUP_ID=1002"]))

    assert (found.uid, found.gid, found.run_image, found.digest) == (1001, 1002, "run:1", DIGEST)


@pytest.mark.parametrize("answer", [b"", b"[]", inspected({}, []), inspected({LABEL: "{}"}, ["CNB_USER_ID=x"])])
def test_any_other_image_is_no_builder(answer: bytes) -> None:
    with pytest.raises(BuildFailed) as caught:
        builder_image("b:1", answer)

    assert caught.value.reason == "not_a_builder_image"


@pytest.mark.parametrize("text", ["", "[image]\n", '[image]\ndigest = "latest"\n', "\0", 'image = "x"\n'])
def test_a_report_without_a_digest_is_not_believed(tmp_path: Path, text: str) -> None:
    (tmp_path / "report.toml").write_text(text)

    with pytest.raises(BuildFailed):
        digest_of(tmp_path / "report.toml")


def test_a_report_that_is_a_link_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "real").write_text(f'[image]\ndigest = "{DIGEST}"\n')
    (tmp_path / "report.toml").symlink_to(tmp_path / "real")

    with pytest.raises(BuildFailed):
        digest_of(tmp_path / "report.toml")
