"""Keys that are replaced while a process runs: what counts is what the files say, once they say it whole."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.errors import Invalid
from pipeline.key_files import KeyFiles, accepted_keys, preview_keys
from pipeline.keys import SigningKey, write_public
from pipeline.settings import Settings
from pipeline.trust import RetiredKey

FIRST, SECOND, OTHER = (SigningKey.generate().public for _ in range(3))


@pytest.fixture
def told(tmp_path: Path) -> Settings:
    write_public(tmp_path / "keys/signing.pub", FIRST)
    write_public(tmp_path / "keys/preview.pub", OTHER)
    return Settings(home=tmp_path)


def test_a_key_that_is_copied_over_the_old_one_is_the_one_that_counts(told: Settings, tmp_path: Path) -> None:
    keys, previews = accepted_keys(told), preview_keys(told)
    assert (list(keys), list(previews)) == ([FIRST], [OTHER])
    write_public(tmp_path / "new.pub", SECOND)

    shutil.copy(tmp_path / "new.pub", told.home / "keys/signing.pub")
    shutil.copy(tmp_path / "new.pub", told.home / "keys/preview.pub")

    assert (list(keys), list(previews)) == ([SECOND], [SECOND])


def test_a_key_of_the_same_time_and_size_is_seen_too(told: Settings) -> None:
    path = told.home / "keys/signing.pub"
    keys, draft = accepted_keys(told), path.with_name("draft")
    draft.write_bytes(SECOND.pem)
    shutil.copystat(path, draft)

    shutil.copy2(draft, path)

    assert list(keys) == [SECOND]


@pytest.mark.parametrize("written", [0, 1, 60, 150])
def test_a_key_that_is_half_written_is_waited_for(told: Settings, written: int) -> None:
    path = told.home / "keys/signing.pub"
    keys = accepted_keys(told)

    path.write_bytes(SECOND.pem[:written])
    assert list(keys) == [FIRST]
    path.write_bytes(SECOND.pem)
    assert list(keys) == [SECOND]


def test_keys_are_accepted_and_retired_by_moving_their_files(told: Settings) -> None:
    keys = accepted_keys(told)

    write_public(told.home / "keys/accepted/other.pub", OTHER)
    assert list(keys) == [FIRST, OTHER]
    (told.home / "keys/retired").mkdir()
    (told.home / "keys/accepted/other.pub").rename(told.home / "keys/retired/other.pub")
    assert list(keys) == [FIRST, RetiredKey(OTHER)]


def test_a_file_that_is_gone_leaves_the_key_that_was_read(told: Settings) -> None:
    keys = accepted_keys(told)

    (told.home / "keys/signing.pub").unlink()

    assert (keys[0], keys[:1], len(keys)) == (FIRST, (FIRST,), 1)


def test_what_changes_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    path, said = tmp_path / "one.pub", iter([FIRST, SECOND, OTHER])
    path.write_bytes(b"first")

    def load() -> list[object]:
        key = next(said)
        path.write_bytes(b"" if key is SECOND else path.read_bytes())
        return [key]

    keys = KeyFiles([path], load)  # type: ignore[arg-type]  # which keys they are is all that is looked at
    path.write_bytes(b"second")

    assert [list(keys), list(keys)] == [[FIRST], [OTHER]]


def test_a_first_key_that_is_none_is_said(told: Settings) -> None:
    (told.home / "keys/signing.pub").write_bytes(b"no key")

    with pytest.raises(Invalid) as caught:
        accepted_keys(told)

    assert caught.value.reason == "bad_key"
