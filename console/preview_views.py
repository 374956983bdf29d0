"""Previews as text."""

from __future__ import annotations

import datetime
from typing import Any

from console.texts import printable
from console.views import table as columns
from console.views import when

MORE = ("ENVIRONMENT", "RUN", "MADE", "APPROVED", "REASON")


def table(answer: dict[str, Any], now: datetime.datetime, *, relative: bool, wide: bool = False) -> str:
    """``preview list``; ``wide`` adds where it is in git, its run, who approved which commit, and why it waits."""
    rows = [
        [
            f"{one['project']}/{one['number'] or one['branch']}", one["state"], _addresses(one),
            one["sha"] if wide else one["sha"][:12], when(one["active_at"], now, relative=relative),
            one["expires_at"], printable(one["by"]), *(_more(one) if wide else ()),
        ]
        for one in answer["previews"]
    ]  # fmt: skip
    header = ("PREVIEW", "STATE", "ADDRESS", "COMMIT", "USED", "EXPIRES", "BY")
    return columns([*header, *(MORE if wide else ())], rows)


def _more(one: dict[str, Any]) -> list[str]:
    approved = f"{one['approved']} by {one['approved_by']}" if one["approved"] else "-"
    return [one["environment"] or "-", one["run"] or "-", one["created_at"] or "-", approved, _reason(one)]


def _reason(one: dict[str, Any]) -> str:
    return ": ".join(part for part in (one["reason"], one["message"]) if part) or "-"


def status(one: dict[str, Any], now: datetime.datetime, *, relative: bool) -> str:
    """``preview status``: one line for each thing to know, and one for each service."""
    if not one:
        return "it is being planned"
    said = f"{one['state']}{': ' + one['message'] if one['message'] else ''}"
    lines = [f"preview: {one['environment']}  {printable(said)}", f"commit: {one['sha'][:12]}"]
    for service in one["services"]:
        why = f"  {service['message']}" if service.get("message") else ""
        lines.append(printable(f"{service['name']}: {service['status']}  {service.get('address', '')}{why}".rstrip()))
    if one["omitted"]:
        lines.append(f"secrets that it does not get: {', '.join(one['omitted'])}")
    if one.get("left"):
        lines.append(printable(f"still there: {', '.join(one['left'])}"))
    used = when(one["active_at"], now, relative=relative)
    return "\n".join([*lines, f"used: {used}", f"expires: {one['expires_at']}"])


def _addresses(one: dict[str, Any]) -> str:
    return " ".join(service["address"] for service in one["services"] if service.get("address")) or "-"
