"""Where a rollback goes, and what a commit by another hand means."""

from __future__ import annotations

import pytest

from gitops.committing import history
from gitops.committing.snapshot import Snapshot
from gitops.hold import Hold
from pipeline.errors import Refused
from pipeline.records import Deployment, Target


def deployment(number: int, *, ran: bool = True, **given: str) -> Deployment:
    return Deployment(
        id=f"d-{number}",
        project="shop",
        environment="production",
        service="web",
        release=f"shop.web.v{number}",
        image=f"image-{number}",
        config_commit=f"commit-{number}",
        running_at="then" if ran else "",
        **{"status": "running", **given},  # type: ignore[arg-type]
    )


def target(number: int, *, held: bool = False, since: str = "") -> Target:
    return Target(
        project="shop",
        environment="production",
        service="web",
        deployment=f"d-{number}",
        release=f"shop.web.v{number}",
        image=f"image-{number}",
        sha="",
        config_commit=f"commit-{number}",
        tree=f"tree-{number}",
        held=held,
        hold_from=since,
    )


def snapshot(number: int, hold: Hold | None = None) -> Snapshot:
    return Snapshot(f"tree-{number}'", f"image-{number}", f"shop.web.v{number}", "", hold)


KNOWN = {"image-1", "image-2"}
FILE = {"deployment.yaml"}


def test_a_rollback_goes_to_the_last_that_was_healthy() -> None:
    line = [deployment(1), deployment(2, ran=False), deployment(3)]
    assert history.rollback_target(line, current=target(3), to=0).id == "d-1"


def test_what_was_rolled_back_before_is_passed_over() -> None:
    line = [deployment(1), deployment(2, status="rolled_back"), deployment(3)]
    assert history.rollback_target(line, current=target(3), to=0).id == "d-1"


def test_a_number_is_found_whether_or_not_it_was_healthy() -> None:
    line = [deployment(1), deployment(2, ran=False), deployment(3)]
    assert history.rollback_target(line, current=target(3), to=2).id == "d-2"


@pytest.mark.parametrize(
    ("to", "reason"), [(0, "nothing_to_roll_back_to"), (9, "nothing_to_roll_back_to"), (1, "already_deployed")]
)
def test_nowhere_to_go_is_refused(to: int, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        history.rollback_target([deployment(1)], current=target(1), to=to)
    assert refused.value.reason == reason


def test_all_after_the_target_is_undone_newest_first() -> None:
    line = [deployment(1), deployment(2), deployment(3)]
    assert [one.id for one in history.undone(line, target=line[0], current=target(3))] == ["d-3", "d-2"]


def test_a_move_to_an_image_that_was_there_before_is_a_rollback() -> None:
    assert history.classify(target(2), snapshot(1), touched=FILE, known_images=KNOWN) == "rollback"


def test_a_move_to_an_unknown_image_is_an_edit() -> None:
    assert history.classify(target(2), snapshot(9), touched=FILE, known_images=KNOWN) == "edit"


def test_the_way_back_to_what_the_hold_left_is_a_resume() -> None:
    held = target(1, held=True, since="shop.web.v2")
    assert history.classify(held, snapshot(2, Hold()), touched=FILE, known_images=KNOWN) == "resume"


def test_going_further_back_while_held_is_a_rollback() -> None:
    held = target(2, held=True, since="shop.web.v3")
    assert history.classify(held, snapshot(1, Hold()), touched=FILE, known_images=KNOWN) == "rollback"


def test_a_hold_that_was_taken_away_is_a_resume() -> None:
    held = target(1, held=True)
    assert history.classify(held, snapshot(1), touched={"hold.yaml"}, known_images=KNOWN) == "resume"


def test_a_hold_that_was_put_there_is_no_deployment() -> None:
    assert history.classify(target(1), snapshot(1, Hold()), touched={"hold.yaml"}, known_images=KNOWN) == "held"


def test_a_directory_that_is_gone_is_a_removal() -> None:
    assert history.classify(target(1), Snapshot(), touched=FILE, known_images=KNOWN) == "removal"
    assert history.classify(None, Snapshot(), touched=set(), known_images=()) == "nothing"


def test_a_release_beyond_what_is_looked_back_on_is_not_said_to_be_unknown() -> None:
    line = [deployment(number) for number in range(2, history.RECENT + 2)]

    with pytest.raises(Refused, match="not among the last 100"):
        history.rollback_target(line, current=target(history.RECENT + 1), to=1)
