"""What commands said of a service, as files beside its manifests."""

from __future__ import annotations

import pytest

from gitops import notes
from gitops.notes import Notes, Scale
from pipeline.errors import Invalid
from pipeline.records import SecretVersion

TOKEN = SecretVersion(version=3, by="deployer", at="2026-01-02T03:04:05Z")
FULL = Notes({"TOKEN": TOKEN}, Scale(5, "deployer", "2026-01-02T03:04:05Z", "a sale"))


def test_what_was_written_is_read_again() -> None:
    assert notes.read(FULL.files()) == FULL


def test_nothing_noted_is_no_file() -> None:
    assert Notes().files() == {}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("secrets.yaml", "secrets: [", "is not valid YAML"),
        ("secrets.yaml", "secrets: {TOKEN: {version: 0}}", "TOKEN has no version above 0"),
        ("secrets.yaml", "secrets: {A-B: {version: 1}}", "'A-B' is not the name of a variable"),
        ("scale.yaml", "replicas: many", "replicas must be a whole number"),
        ("scale.yaml", "- 1", "is not a mapping"),
    ],
)
def test_a_file_that_somebody_broke_is_named(name: str, text: str, said: str) -> None:
    with pytest.raises(Invalid, match=said) as caught:
        notes.read({name: text.encode()})
    assert caught.value.message.startswith(name)


def test_going_back_takes_old_versions_keeps_later_names_and_the_count() -> None:
    then = Notes({"TOKEN": SecretVersion(version=1)}, Scale(2))
    now = Notes({"TOKEN": TOKEN, "LATER": SecretVersion(version=4)}, Scale(9))

    back = notes.rolled_back(then, now)

    assert back.versions == {"TOKEN": 1, "LATER": 4}
    assert back.scale == Scale(9)


def test_an_old_manifest_gets_todays_count_and_nothing_else() -> None:
    manifest = b"spec:\n  replicas: 2\n  template:\n    x: 1\n"

    assert notes.with_count(manifest, Scale(9)) == b"spec:\n  replicas: 9\n  template:\n    x: 1\n"
    assert notes.with_count(manifest, None) == manifest
