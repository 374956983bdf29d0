from __future__ import annotations

import pytest

from ingest import remotelines

SHA = "a" * 40


def test_a_run_is_shown_with_its_address_and_how_to_follow_it() -> None:
    lines = remotelines.run_started("r-1", "refs/heads/main", SHA, project="shop", console_url="http://c/")
    assert lines[0] == "enclii: main is at aaaaaaaaaaaa: run r-1"
    assert "http://c/runs/r-1" in lines[1]
    assert "enclii status --watch -p shop --run r-" in lines[2]


def test_every_problem_of_a_file_has_its_line() -> None:
    lines = remotelines.invalid_file("enclii.yaml", "refs/heads/main", SHA, "enclii.yaml:3: x\nenclii.yaml:9: y")
    assert lines[1:] == ["enclii:   enclii.yaml:3: x", "enclii:   enclii.yaml:9: y"]


def test_a_flood_of_problems_is_cut_and_counted() -> None:
    lines = remotelines.refused("\n".join(["problem"] * 100))
    assert len(lines) == remotelines.LINES_SHOWN + 2
    assert "and 60 more" in lines[-2]


def test_what_a_terminal_would_obey_is_taken_out() -> None:
    assert "\x1b" not in "".join(remotelines.refused("a\x1b[2Jb"))


@pytest.mark.parametrize(
    ("name", "word"),
    [("topic", "topic"), ("a;b$(id)", "'a;b$(id)'"), ("it's", "'it'\"'\"'s'"), ("-force", "-- -force")],
)
def test_the_advice_after_a_push_can_be_pasted_into_a_shell(name: str, word: str) -> None:
    advice = remotelines.nothing_fed(f"refs/heads/{name}", SHA, project="shop")[1]
    assert advice.endswith(f"enclii preview up -p shop {word}")


def test_a_deleted_branch_and_a_tag_build_nothing() -> None:
    assert "is deleted" in remotelines.ref_recorded("refs/heads/topic", "0" * 40)[0]
    assert "at aaaaaaaaaaaa" in remotelines.ref_recorded("refs/tags/v1", SHA)[0]
