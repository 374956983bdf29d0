"""What a process writes to its log, and what it leaves out."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from pipeline import log


@pytest.fixture(autouse=True)
def _root() -> Iterator[None]:
    """The root logger as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_ids_that_are_bound_stand_on_each_line() -> None:
    stream = io.StringIO()
    log.set_up("builder", "json", stream)

    with log.bound(run="r-1", service="web"):
        logging.getLogger("test").info("building")

    line = json.loads(stream.getvalue())
    assert (line["process"], line["run"], line["service"]) == ("builder", "r-1", "web")


def test_lines_below_the_wanted_level_are_left_out() -> None:
    stream = io.StringIO()
    log.set_up("builder", "json", stream, level="warning")

    logging.getLogger("test").info("not news")
    logging.getLogger("test").warning("news")

    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["news"]
