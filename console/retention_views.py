"""A plan of retention, and what became of it, as lines for people."""

from __future__ import annotations

from typing import Any

from console.texts import printable

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def plan(answer: dict[str, Any], *, wide: bool = False) -> str:
    """What is shed, then what is kept, one manifest a line; the sum at the end. ``wide``: whole digests, and tags."""
    rows = [_row(line, wide=wide) for line in answer["lines"]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    lines = [
        "  ".join((*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1])) for row in rows
    ]
    lines += [f"shed  log of {one['project']}/{one['service']}  {one['run']}  {one['why']}" for one in answer["logs"]]
    lines.append(f"{answer['shed']} to shed, {answer['kept']} to keep; {size(answer['frees'])} would be freed")
    return "\n".join(map(printable, lines))


def _row(line: dict[str, Any], *, wide: bool) -> tuple[str, ...]:
    what = "keep" if line["keep"] else "shed"
    named = (line["digest"], ",".join(line["tags"]) or "-") if wide else (line["digest"][:19],)
    return (what, line["repository"], *named, size(line["size"]), line["why"])


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
