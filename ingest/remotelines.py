"""What a person reads as ``remote:`` lines while pushing. Pure text, one function for each thing that can happen."""

from __future__ import annotations

import shlex

from pipeline.names import branch, is_zero

LINES_SHOWN = 40
LINE_WIDTH = 300
STORE_AWAY = "enclii: the event store is away; nothing was accepted; push again in a moment"


def run_started(run: str, ref: str, after: str, *, project: str, console_url: str) -> list[str]:
    """A branch moved and its run has an id."""
    address = f"{console_url.rstrip('/')}/runs/{run}"
    return [
        f"enclii: {branch(ref) or ref} is at {after[:12]}: run {run}",
        f"enclii:   {address}",
        f"enclii:   follow it: enclii status --watch -p {project} --run {run}",
    ]


def nothing_fed(ref: str, after: str, *, project: str) -> list[str]:
    """A branch moved that no environment of the project is fed by: there will be no run."""
    name = plain(branch(ref) or ref)
    word = f"-- {shlex.quote(name)}" if name.startswith("-") else shlex.quote(name)  # it is pasted into a shell
    return [
        f"enclii: {name} is at {after[:12]}; no environment of {project} is fed by it, and nothing is deployed",
        f"enclii:   a preview of it: enclii preview up -p {project} {word}",
    ]


def ref_recorded(ref: str, after: str) -> list[str]:
    """A tag moved or a ref was deleted: recorded, and nothing is built."""
    done = "deleted" if is_zero(after) else f"at {after[:12]}"
    return [f"enclii: {plain(ref)} is {done}; nothing is built for it"]


def recorded_for_later() -> list[str]:
    """The refs moved, the intent is stored, and the event store went away in between."""
    return ["enclii: the push is accepted and recorded; its run starts as soon as the event store is back"]


def config_moved(after: str) -> list[str]:
    """The config branch has a new tip."""
    return [f"enclii: the configuration is at {after[:12]}; the cluster follows it"]


def invalid_file(path: str, ref: str, sha: str, message: str) -> list[str]:
    """A file in the pushed commit breaks its rules: every problem on a line of its own."""
    head = f"enclii: {path} at {sha[:12]} ({branch(ref) or ref}) is invalid; nothing was accepted:"
    return [head, *(f"enclii:   {line}" for line in _shown(message))]


def refused(message: str) -> list[str]:
    """Any other reason to take nothing of this push."""
    return [f"enclii: {line}" for line in _shown(message)] + ["enclii: nothing was accepted"]


def plain(text: str) -> str:
    """``text`` without what a terminal would obey."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _shown(message: str) -> list[str]:
    lines = [plain(line)[:LINE_WIDTH] for line in message.splitlines() if line.strip()]
    more = len(lines) - LINES_SHOWN
    return lines[:LINES_SHOWN] + ([f"… and {more} more"] if more > 0 else [])
