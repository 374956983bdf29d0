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


def test_what_the_work_finds_out_stands_on_the_lines_that_follow_and_ends_with_it() -> None:
    stream = io.StringIO()
    log.set_up("signer", "json", stream)

    log.learned(commit="of nobody's work")
    with log.bound(run="r-1"):
        log.learned(commit="abc", service="")
        logging.getLogger("test").info("signing")
    logging.getLogger("test").info("idle")

    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["run"], first["commit"], "service" in first) == ("r-1", "abc", False)
    assert not {"run", "commit"} & second.keys()


def test_a_terminal_gets_lines_for_people() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    log.set_up("signer", "auto", stream)
    with log.bound(run="r-1", commit="abc"):
        logging.getLogger("test").warning("no key")

    assert stream.getvalue().endswith("signer    warning no key  run=r-1 commit=abc\n")


def test_lines_below_the_wanted_level_are_left_out() -> None:
    stream = io.StringIO()
    log.set_up("builder", "json", stream, level="warning")

    logging.getLogger("test").info("not news")
    logging.getLogger("test").warning("news")

    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["news"]
