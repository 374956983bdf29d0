"""The one comment that a pull request gets, as a pure function of its preview's record.

Nothing of a build's or a service's output is in it: that is behind the links. What people typed is made harmless.
"""

from __future__ import annotations

import re
from typing import Final

from pipeline.deliveries import MARKER
from pipeline.previews import Preview, PreviewService

SYMBOLS: Final = {"running": "✅", "building": "🔨", "committed": "🚚", "failed": "❌", "degraded": "⚠️", "asleep": "💤"}
WORDS: Final = {
    "building": "is being built", "committed": "is on its way", "failed": "failed", "degraded": "is not well",
    "asleep": "sleeps; a visit wakes it",
}  # fmt: skip
HEADS: Final = {
    "waiting": "⏳ **The preview waits**",
    "building": "🔨 **The preview is being built**",
    "ready": "✅ **The preview is ready**",
    "failed": "❌ **The preview failed**",
    "asleep": "💤 **The preview sleeps**: a visit wakes it",
    "removing": "🧹 **The preview is being removed**",
    "removed": "🧹 **The preview is gone**: nothing of it is left",
}
COMMANDS: Final = "`/preview` · `/preview restart` · `/preview extend 24h` · `/preview down`"
LONGEST: Final = 300
SERVICES: Final = 50
_NAMES = re.compile(r"[^A-Za-z0-9_.-]")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f<>|`\\\[\]()*_~]")


def marker(number: int) -> str:
    """What the comment begins with, by which it is found again."""
    return f"{MARKER}:pr={number} -->"


def comment(preview: Preview, *, console_url: str) -> str:
    """The comment's text for the state that the record is in."""
    lines = [marker(preview.number), _head(preview), ""]
    if preview.reason == "approval_needed" or (preview.fork and not preview.approved and preview.state == "waiting"):
        lines += [_fork(preview), ""]
    if preview.services and preview.state not in ("removing", "removed"):
        lines += [*_table(preview, console_url), ""]
    if preview.omitted and preview.state != "removed":
        names = ", ".join(f"`{_NAMES.sub('', one)[:LONGEST]}`" for one in preview.omitted)
        lines += [f"Secrets that it does not get: {names}.", ""]
    lines.append(_foot(preview, console_url))
    return "\n".join(lines) + "\n"


def _head(preview: Preview) -> str:
    said = plain(preview.message)
    return HEADS[preview.state] + (f": {said}" if said else "")


def _fork(preview: Preview) -> str:
    return (
        "From a fork: nothing of it is built by itself. Somebody with the right who has read that commit can write\n\n"
        f"```\n/preview approve {preview.newest}\n```\n\n"
        "It gets no secrets, and a new push needs a new approval."
    )


def _table(preview: Preview, console_url: str) -> list[str]:
    rows = [_row(one, preview, console_url) for one in preview.services[:SERVICES]]
    more = len(preview.services) - SERVICES
    return ["| service | preview | commit | |", "| --- | --- | --- | --- |", *rows] + (
        [f"| … | {more} more | | |"] if more > 0 else []
    )


def _row(service: PreviewService, preview: Preview, console_url: str) -> str:
    sha = (service.sha or preview.sha)[:7]
    run = f"{console_url}/why?about={preview.run}" if preview.run else f"{console_url}/decisions"
    return f"| {plain(service.name)} | {SYMBOLS[service.status]} {_state(service)} | `{sha}` | [why]({run}) |"


def _state(service: PreviewService) -> str:
    if service.status == "running":
        return service.address or "runs"
    said = WORDS[service.status]
    if service.status in ("failed", "degraded"):
        why = plain(service.message or service.reason)
        still = f"; the last good one still answers at {service.address}" if service.address and service.release else ""
        return said + (f": {why}" if why else "") + still
    return said + (f": {service.address}" if service.address and service.status == "asleep" else "")


def _foot(preview: Preview, console_url: str) -> str:
    parts = []
    if preview.state == "removed":
        return f"<sub>`/preview` makes it again · [why]({console_url}/why?about={preview.id})</sub>"
    if preview.expires_at:
        parts.append(f"goes at {preview.expires_at[:16].replace('T', ' ')} UTC unless somebody uses it")
    if preview.by:
        parts.append(f"asked for by {plain(preview.by)}")
    return f"<sub>{' · '.join([*parts, COMMANDS])}</sub>"


def plain(text: str) -> str:
    """Somebody's words, with nothing in them that the forge would turn into something, nor anybody called."""
    return _UNSAFE.sub(" ", text)[:LONGEST].replace("@", "@\u200b").strip()
