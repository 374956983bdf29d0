"""What a repository tells Buildpacks, read from real files."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from pipeline.builders.project_toml import Group, Project, read
from pipeline.errors import EncliiError, Refused

FULL = """
[_]
schema-version = "0.2"
[io.buildpacks]
builder = "builders/one:1"
exclude = ["*.md", "docs/", "/secret.txt"]
[[io.buildpacks.group]]
id = "acme/node"
version = "1.2"
[[io.buildpacks.build.env]]
name = "MODE"
value = "fast"
"""


def given(folder: Path, text: str) -> Project:
    (folder / "project.toml").write_text(text)
    return read(folder)


def test_everything_that_is_honoured_is_read(tmp_path: Path) -> None:
    project = given(tmp_path, FULL)

    assert (project.builder, project.groups) == ("builders/one:1", (Group("acme/node", "1.2"),))
    assert project.env == {"MODE": "fast"}


def test_the_groups_become_an_order_that_the_lifecycle_reads(tmp_path: Path) -> None:
    order = tomllib.loads(given(tmp_path, FULL).order())

    assert order == {"order": [{"group": [{"id": "acme/node", "version": "1.2"}]}]}


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("a.py", True),
        ("a.md", False),
        ("x/a.md", False),
        ("docs/a.txt", False),
        ("secret.txt", False),
        ("x/secret.txt", True),
    ],
)
def test_excluded_files_are_left_out(tmp_path: Path, path: str, *, kept: bool) -> None:
    assert given(tmp_path, FULL).keeps(path) is kept


def test_included_files_are_the_only_ones(tmp_path: Path) -> None:
    project = given(tmp_path, '[io.buildpacks]\ninclude = ["src/", "start"]\n')

    assert [project.keeps(path) for path in ("src/a.py", "start", "other")] == [True, True, False]


def test_without_the_file_all_is_as_the_image_has_it(tmp_path: Path) -> None:
    assert read(tmp_path) == Project()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "project.toml").symlink_to("/etc/hostname")

    assert read(tmp_path) == Project()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[io", "bad_project_toml"),
        ('[io.buildpacks]\ninclude = ["a"]\nexclude = ["b"]\n', "bad_project_toml"),
        ("[io.buildpacks]\nbuilder = 7\n", "bad_project_toml"),
        ("[[io.buildpacks.group]]\nversion = '1'\n", "bad_project_toml"),
        ("[[io.buildpacks.group]]\nuri = 'https://evil.example/x.tgz'\n", "buildpack_refused"),
        ("[[io.buildpacks.group]]\nid = 'a'\nscript = {api = '0.1', inline = 'rm -rf /'}\n", "buildpack_refused"),
    ],
)
def test_what_is_wrong_or_not_done_is_named(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(EncliiError) as caught:
        given(tmp_path, text)

    assert caught.value.reason == reason
    assert isinstance(caught.value, Refused) == (reason == "buildpack_refused")
