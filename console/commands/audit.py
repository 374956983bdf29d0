"""``enclii audit``: who did what."""

from __future__ import annotations

from typing import Any, Final

import click

from console import audit_views
from console.commands.options import formatted, show
from console.session import Session

WAYS: Final = ("push", "CLI", "page", "comment", "API", "git")


@click.command()
@click.option("--who", default="", help="Only this person or token.")
@click.option(
    "--way", type=click.Choice(["push", "CLI", "page", "comment", "API", "git"]), default=None, help="Only so."
)
@click.option("--what", default="", help="Only this act, such as rollback.")
@click.option("-p", "--project", default="", help="Only in this project.")
@click.option("-e", "--environment", default="", help="Only in this environment.")
@click.option(
    "-n", "--limit", type=click.IntRange(1), default=50, show_default=True, help="How many; --all: every one."
)
@click.option("--all", "every", is_flag=True, help="Every entry that is kept.")
@formatted
@click.pass_obj
def audit(session: Session, /, *, output: str, limit: int, every: bool, **wanted: str | None) -> None:
    """Who did what, by which way and in which role, newest first; -o jsonl --all exports it."""
    found: list[dict[str, Any]] = []
    query = {**{name: value for name, value in wanted.items() if value}, "limit": 200 if every else min(limit, 200)}
    cursor = ""
    while True:
        answer = session.api.get("/v1/audit", {**query, "cursor": cursor})
        found += answer["audit"]
        cursor = answer["next"]
        if not cursor or (not every and len(found) >= limit):
            break
    answer, wide = {"audit": found if every else found[:limit]}, output == "wide"
    show(answer, output, lambda it: audit_views.audit(it, session.now(), wide=wide), rows="audit")
