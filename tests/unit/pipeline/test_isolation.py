"""A builder's id tells how its builds are kept apart."""

from __future__ import annotations

import pytest

from pipeline.isolation import CLASSES, builder_id, builder_ids
from pipeline.stages.reproduce import sampled

INSTANCE = "https://builders.example/one"


@pytest.mark.parametrize("isolation", CLASSES)
def test_a_builder_is_named_by_how_it_keeps_builds_apart(isolation: str) -> None:
    assert builder_id(INSTANCE, isolation) == f"{INSTANCE}/{isolation}"
    assert builder_id(INSTANCE, isolation) in builder_ids(INSTANCE)


@pytest.mark.parametrize("isolation", ["", "virtual-machine", "container/../../other"])
def test_a_class_that_nobody_knows_is_not_claimed(isolation: str) -> None:
    assert builder_id(INSTANCE, isolation) == INSTANCE


def test_a_sample_is_as_large_as_its_rate_and_always_the_same() -> None:
    releases = [f"r-{number}/web" for number in range(2000)]

    chosen = [one for one in releases if sampled(one, 0.1)]

    assert 140 < len(chosen) < 260
    assert chosen == [one for one in releases if sampled(one, 0.1)]
    assert (sampled("r/web", 0.0), all(sampled(one, 1.0) for one in releases)) == (False, True)
