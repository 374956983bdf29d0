"""A plan of retention, and what became of it, as lines for people."""

from __future__ import annotations

from typing import Any

from console.texts import printable

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def plan(answer: dict[str, Any]) -> str:
    """What is shed, then what is kept, one manifest a line; the sum at the end."""
    rows = [_row(line) for line in answer["lines"]]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    lines = [
        "  ".join((*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4])) for row in rows
    ]
    lines += [f"shed  log of {one['project']}/{one['service']}  {one['run']}  {one['why']}" for one in answer["logs"]]
    lines.append(f"{answer['shed']} to shed, {answer['kept']} to keep; {size(answer['frees'])} would be freed")
    return "\n".join(map(printable, lines))


def _row(line: dict[str, Any]) -> tuple[str, str, str, str, str]:
    what = "keep" if line["keep"] else "shed"
    return (what, line["repository"], line["digest"][:19], size(line["size"]), line["why"])


def done(answer: dict[str, Any]) -> str:
    """What the storage holds now."""
    collected = answer["collected"]
    shed = answer["decision"]["message"] if answer["decision"] else "nothing was to be shed"
    if collected is None:
        return printable(shed)
    before, after = collected["before"], collected["after"]
    return printable(f"{shed}; the registry's storage: {size(before)} before, {size(after)} now")


def size(count: float) -> str:
    """Bytes in the unit that a person reads."""
    for unit in _UNITS:
        if count < 1024 or unit == _UNITS[-1]:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError
