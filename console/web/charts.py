"""Pictures as SVG, drawn here: each has a title and a description in words, and its colours are the style sheet's.

Every text is escaped by ``markupsafe``; there is no style attribute, which the content policy forbids.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Final

from markupsafe import Markup

from console.texts import moment, span

WIDTH: Final = 720
LABEL: Final = 34
_COLOUR: Final = {"running": "good", "replaced": "plain", "failed": "bad", "rolled_back": "bad", "degraded": "warn",
                  "held": "warn"}  # fmt: skip
_STEP: Final = {"done": "good", "known": "good", "now": "busy", "failed": "bad", "cancelled": "warn", "held": "warn",
                "superseded": "warn"}  # fmt: skip


def bars(days: Sequence[tuple[str, int, int]], *, title: str) -> Markup:
    """Per day a bar of what went well and, on top of it, of what failed."""
    total = sum(good + bad for _, good, bad in days)
    said = f"{total} deployments in {len(days)} days, {sum(bad for _, _, bad in days)} of them failed."
    return columns(days, title=title, said=said, words=("went well", "failed"), kinds=("good", "bad"), each="a day")


def columns(
    points: Sequence[tuple[str, int, int]], *, title: str, said: str, words: tuple[str, str], kinds: tuple[str, str],
    each: str,
) -> Markup:  # fmt: skip
    """A bar for each (when, count, other count), the second on top; ``words`` and ``kinds`` tell the two apart."""
    highest = max((low + high for _, low, high in points), default=0) or 1
    step, height = WIDTH / max(len(points), 1), 108
    drawn = []
    for number, (when, low, high) in enumerate(points):
        x, first, second = number * step + 1, height * low / highest, height * high / highest
        tip = f"{when}: {low} {words[0]}" + (f", {high} {words[1]}" if words[1] else "")
        drawn.append(
            Markup('<g><title>{}</title><rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>'
                   '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/></g>').format(
                tip, kinds[0], x, 130 - first, step - 2, first,
                kinds[1], x, 130 - first - second, step - 2, second)
        )  # fmt: skip
    ends = [points[0][0], points[-1][0]] if points else ["", ""]
    axis = Markup(
        '<line class="axis" x1="0" y1="130" x2="{0}" y2="130"/><text x="0" y="146">{1}</text>'
        '<text x="{0}" y="146" text-anchor="end">{2}</text>'
        '<text x="{0}" y="10" text-anchor="end">at most {3} {4}</text>'
    ).format(WIDTH, *ends, highest, each)
    return _picture(title, said, 150, Markup("").join([*drawn, axis]))


def time_line(found: Sequence[tuple[str, str, str]], *, now: datetime.datetime, title: str) -> Markup:
    """Deployments (time, version, status) as points on a line of time, the newest at its right end."""
    points = sorted((at, version, status) for text, version, status in found if (at := moment(text)))
    if not points:
        return Markup("")
    first = points[0][0]
    whole = max((now - first).total_seconds(), 1.0)
    drawn, right = [], -99.0
    for at, version, status in points:
        x = 12 + (WIDTH - 24) * (at - first).total_seconds() / whole
        label = (
            Markup('<text x="{:.1f}" y="22" text-anchor="middle">{}</text>').format(x, version)
            if x - right > 34
            else ""
        )
        right = x if label else right
        drawn.append(
            Markup('<g><title>{} {}, {} ago</title><circle class="{}" cx="{:.1f}" cy="40" r="6"/>{}</g>').format(
                version, status, span(max((now - at).total_seconds(), 0)), _COLOUR.get(status, "busy"), x, label)
        )  # fmt: skip
    axis = Markup(
        '<line class="axis" x1="0" y1="40" x2="{0}" y2="40"/><text x="0" y="66">{1} ago</text>'
        '<text x="{0}" y="66" text-anchor="end">now</text>'
    ).format(WIDTH, span(whole))
    last = points[-1]
    said = f"{len(points)} deployments in {span(whole)}; the newest, {last[1]}, is {last[2]}."
    return _picture(title, said, 72, Markup("").join([axis, *drawn]))


def pipeline(stages: Sequence[tuple[str, str, str]], *, title: str) -> Markup:
    """Stages (name, state, how long) as boxes from left to right; a state is done, now, waits, or how it ended."""
    if not stages:
        return Markup("")
    step = WIDTH / len(stages)
    drawn = []
    for number, (name, state, took) in enumerate(stages):
        x = number * step
        kind = _STEP.get(state, "plain")
        joint = (
            Markup('<line class="axis" x1="{:.1f}" y1="34" x2="{:.1f}" y2="34"/>').format(x - 10, x) if number else ""
        )
        drawn.append(
            Markup('{}<rect class="box {}" x="{:.1f}" y="8" width="{:.1f}" height="52" rx="6"/>'
                   '<text x="{:.1f}" y="29" text-anchor="middle">{}</text>'
                   '<text class="soft" x="{:.1f}" y="48" text-anchor="middle">{} {}</text>').format(
                joint, kind, x, step - 10, x + (step - 10) / 2, name, x + (step - 10) / 2, state, took)
        )  # fmt: skip
    said = "; ".join(f"{name} {state}{' ' + took if took else ''}" for name, state, took in stages)
    return _picture(title, said, 68, Markup("").join(drawn), kind="chart steps")


def share(part: int, whole: int, *, title: str, of: str) -> Markup:
    """One bar that is full as far as ``part`` of ``whole``."""
    filled = WIDTH * part / whole if whole else 0.0
    drawn = Markup(
        '<rect class="ground" x="0" y="4" width="{}" height="18" rx="4"/>'
        '<rect class="good" x="0" y="4" width="{:.1f}" height="18" rx="4"/>'
    ).format(WIDTH, filled)
    return _picture(title, f"{part} of {whole} {of}.", 26, drawn)


def _picture(title: str, said: str, height: int, inside: Markup, *, kind: str = "chart") -> Markup:
    return Markup(
        '<figure class="{}"><svg viewBox="0 0 {} {}" role="img" aria-label="{}. {}">{}</svg>'
        "<figcaption>{}: {}</figcaption></figure>"
    ).format(kind, WIDTH, height, title, said, inside, title, said)
