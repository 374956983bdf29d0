"""Who may read the file of a secret, by its owner, group and mode."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.private import open_beyond, open_to_others

US, ROOT, OUR_GROUP, OTHER = 65532, 0, 65533, 1234


def file(mode: int, *, owner: int = US, group: int = OUR_GROUP) -> os.stat_result:
    return os.stat_result((0o100000 | mode, 1, 1, 1, owner, group, 10, 0, 0, 0))


def is_open(status: os.stat_result) -> bool:
    return open_beyond(status, user=US, group=OUR_GROUP)


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o700])
def test_a_file_that_its_owner_alone_may_read_is_private(mode: int) -> None:
    assert not is_open(file(mode))


@pytest.mark.parametrize("mode", [0o440, 0o640])
def test_a_file_that_root_gave_to_our_group_to_read_is_private(mode: int) -> None:
    assert not is_open(file(mode, owner=ROOT))


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o604, 0o602, 0o644, 0o601])
def test_a_file_of_ours_is_open_when_group_or_world_may_do_anything(mode: int) -> None:
    assert is_open(file(mode))


@pytest.mark.parametrize("mode", [0o460, 0o450, 0o444, 0o442])
def test_roots_file_is_open_when_our_group_may_do_more_than_read_or_the_world_anything(mode: int) -> None:
    assert is_open(file(mode, owner=ROOT))


def test_roots_file_is_open_when_another_group_may_read_it() -> None:
    assert is_open(file(0o440, owner=ROOT, group=OTHER))


@pytest.mark.parametrize("owner", [US, OTHER])
def test_what_somebody_else_than_root_gave_to_our_group_is_open(owner: int) -> None:
    assert is_open(file(0o440, owner=owner))


def test_for_root_itself_a_file_that_its_group_may_read_is_open() -> None:
    assert open_beyond(file(0o440, owner=ROOT, group=ROOT), user=ROOT, group=ROOT)


def test_a_file_is_judged_for_who_asks(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    assert not open_to_others(secret.stat())
    secret.chmod(0o644)
    assert open_to_others(secret.stat())
