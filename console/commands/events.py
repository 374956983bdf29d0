"""``enclii events``: what happens, from every stage, as it is written into the event store."""

from __future__ import annotations

from typing import Any, Final

import click

from console.commands.options import formatted, scoped, show
from console.forms import rendered
from console.session import Scope, Session
from console.texts import printable
from console.views import table

_NAMED: Final = ("release", "deployment", "promotion", "run", "image", "ref", "id")
"""What an event is about, the most telling first."""
FOLLOWED: Final = {"json": "jsonl"}
"""What never ends is no one document: each event is."""
HEADER: Final = ("WHEN", "TYPE", "WHERE", "ABOUT", "STATUS", "BY")


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes.")
@click.option("-n", "--lines", type=click.IntRange(0, 1_000), default=20, show_default=True, help="Last events.")
@click.option("--type", "kind", default="", metavar="TYPE", help="Only of this type, such as build.finished.")
@scoped
@formatted
@click.pass_obj
def events(session: Session, *, scope: Scope, output: str, follow: bool, lines: int, kind: str) -> None:
    """What happens, from every stage: the last events, and with -f those that come."""
    session.goes_on = "what happens goes on"
    query = {**session.resolve(scope).query(), "type": kind, "tail": str(lines), "follow": follow}
    found = (one.data for one in session.api.events("/v1/events", query) if one.kind == "event")
    if not follow:
        show({"events": list(found)}, output, lambda it: table(HEADER, [*map(cells, it["events"])]), rows="events")
        return
    for one in found:
        click.echo(("---\n" if output == "yaml" else "") + rendered(one, FOLLOWED.get(output, output), line))


def cells(one: dict[str, Any]) -> list[str]:
    """One event, a cell for each column."""
    place = "/".join(one[name] for name in ("project", "environment", "service") if one.get(name))
    about = next((one[name] for name in _NAMED if one.get(name)), "-")
    status = " ".join(one[name] for name in ("status", "reason") if one.get(name))
    return [one.get("at") or "-", one["type"], place or "-", about, status or "-", one.get("actor") or "-"]


def line(one: dict[str, Any]) -> str:
    """One event by itself, as it comes."""
    return "  ".join(map(printable, cells(one)))
