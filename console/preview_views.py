"""Previews as text."""

from __future__ import annotations

import datetime
from typing import Any

from console.texts import printable
from console.views import table as columns
from console.views import when


def table(answer: dict[str, Any], now: datetime.datetime, *, relative: bool) -> str:
    """``preview list``."""
    rows = [
        [
            f"{one['project']}/{one['number'] or one['branch']}", one["state"], _addresses(one), one["sha"][:12],
            when(one["active_at"], now, relative=relative), one["expires_at"], printable(one["by"]),
        ]
        for one in answer["previews"]
    ]  # fmt: skip
    return columns(["PREVIEW", "STATE", "ADDRESS", "COMMIT", "USED", "EXPIRES", "BY"], rows)


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
