"""``--watch``: an answer again whenever it changed. A terminal shows the newest; a pipe gets the lines that are new."""

from __future__ import annotations

import datetime
import functools
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import click

from console.client import Failure
from console.commands.options import show
from console.forms import MACHINES, rendered
from console.session import Session

ONE_WAIT: Final = 20
PAUSE: Final = 0.5
LOST_LIMIT: Final = 60.0
Text = Callable[[Any, datetime.datetime], str]


def keep_showing(session: Session, read: Callable[[], Any], text: Text, output: str, rows: str) -> None:
    """Until the watcher leaves, or as long as ``--timeout`` says. Raises Failure."""
    session.goes_on = "what you watched goes on"
    if output in MACHINES:
        for answer in _changes(session, read):
            show(answer, "yaml" if output == "yaml" else "jsonl", str)
        return

    def told(answer: Any, now: datetime.datetime) -> str:
        return rendered(answer, output, lambda it: text(it, now), rows)

    if session.terminal and session.env.get("TERM") != "dumb":
        _drawn(session, read, told)
    else:
        _line_by_line(session, read, told)


def _drawn(session: Session, read: Callable[[], Any], text: Text) -> None:
    """Drawn anew each second too, for ages go on."""
    from rich.console import Console
    from rich.live import Live

    from console.commands.picture import Picture

    picture = Picture(session.now)
    with Live(picture, console=Console(no_color=bool(session.env.get("NO_COLOR"))), refresh_per_second=1) as live:
        for answer in _changes(session, read):
            picture.show(functools.partial(text, answer))
            live.refresh()


def _line_by_line(session: Session, read: Callable[[], Any], text: Text) -> None:
    """What is new is told by lines whose ages stand still: otherwise each second would change every line."""
    still, before = session.now(), set[str]()
    for answer in _changes(session, read):
        known = text(answer, still).splitlines()
        for line, shown in zip(known, text(answer, session.now()).splitlines(), strict=True):
            if line not in before:
                click.echo(shown)
        before = set(known)


def _changes(session: Session, read: Callable[[], Any]) -> Iterator[Any]:
    """The answer, and again each time that it is another one."""
    deadline = time.monotonic() + session.timeout if session.timeout else None
    position, before, lost = 0, None, time.monotonic()
    while deadline is None or time.monotonic() < deadline:
        left = ONE_WAIT if deadline is None else min(ONE_WAIT, max(1, int(deadline - time.monotonic())))
        try:
            position = session.api.get("/v1/position", {"after": position, "wait": left if position else 0})["seq"]
            answer = read()
            if (told := rendered({**answer, "seq": 0}, "json", str)) != before:
                before = told
                yield answer
            lost = time.monotonic()
        except Failure as failure:
            if failure.reason != "api_away" or before is None or time.monotonic() - lost > LOST_LIMIT:
                raise
        time.sleep(PAUSE)  # a busy installation changes faster than anybody reads; an API that is away is not hurried
