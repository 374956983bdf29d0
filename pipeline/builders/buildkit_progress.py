"""BuildKit's progress, one JSON object a line on stderr, as log lines with step, stream and time, and as a report.

What is not JSON is what buildctl itself says at the end: the only words that decide how a failure is judged. A line
of a step's output may come in several pieces and is put together again before it is masked.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pipeline.build_log import BoundedLog
from pipeline.build_report import BuildReport, BuildStep, kept
from pipeline.process import LINE_LIMIT

_BASE = re.compile(r"(?:\[[^\]]*\] )?FROM (?P<name>[^\s@]+)@(?P<digest>sha256:[0-9a-f]{64})")
_STREAMS = {1: "stdout", 2: "stderr"}
WORDS_KEPT = 40


@dataclass
class _Vertex:
    name: str
    started: str = ""
    completed: str = ""
    cached: bool = False
    error: str = ""
    told: set[str] = field(default_factory=set)


class Progress:
    """Reads buildctl's stderr line by line (the shape of process.Sink)."""

    def __init__(self, output: BoundedLog) -> None:
        self._output = output
        self._vertices: dict[str, _Vertex] = {}
        self._rest: dict[tuple[str, str], bytes] = {}
        self.words: list[str] = []
        self.bases: dict[str, str] = {}

    async def write(self, stream: str, line: bytes) -> None:
        """Take one line of buildctl's own output."""
        found = _object(line) if stream == "stderr" else None
        if found is None:
            await self._said(line)
            return
        self._output.touch()
        for vertex in _list(found, "vertexes"):
            await self._vertex(vertex)
        for log in _list(found, "logs"):
            await self._log(log)
        for warning in _list(found, "warnings"):
            await self._output.write("stderr", b"warning: " + _decoded(warning.get("short")))

    async def end(self) -> None:
        """What stood on lines without an end."""
        for (vertex, stream), rest in self._rest.items():
            await self._output.write(stream, rest, step=self._name(vertex))
        self._rest.clear()

    @property
    def failed(self) -> str:
        """The name of the step that failed; empty when none said so."""
        return next(
            (one.name for one in self._vertices.values() if one.error and "context canceled" not in one.error), ""
        )

    @property
    def running(self) -> tuple[str, ...]:
        """The names of the steps that have begun and not ended."""
        return tuple(one.name for one in self._vertices.values() if one.started and not one.completed)

    def report(self) -> BuildReport:
        """Every step that began, in that order."""
        begun = sorted((one for one in self._vertices.values() if one.started), key=lambda one: one.started)
        steps = [
            BuildStep(name=one.name, cached=one.cached, failed=bool(one.error), seconds=_seconds(one)) for one in begun
        ]
        return BuildReport(steps=kept(steps), dropped=self._output.dropped)

    async def _said(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip()
        if text:
            self.words = [*self.words, self._output.masked(text)][-WORDS_KEPT:]
            await self._output.write("stderr", line)

    async def _vertex(self, given: dict[str, Any]) -> None:
        one = self._vertices.setdefault(
            str(given.get("digest")), _Vertex(self._output.masked(str(given.get("name", ""))))
        )
        one.started, one.completed = one.started or str(given.get("started", "")), str(given.get("completed", ""))
        one.cached, one.error = one.cached or bool(given.get("cached")), str(given.get("error", ""))
        if base := _BASE.match(one.name):
            self.bases[base["name"]] = base["digest"]
        state = "cached" if one.cached else "begun" if one.started else ""
        if state and not one.told & {state, "cached"} and not one.name.startswith("[internal]"):
            one.told.add(state)
            text = f"{one.name} (cached)" if one.cached else one.name
            await self._output.write("step", text.encode(), step=one.name, at=_time(one.started))

    async def _log(self, given: dict[str, Any]) -> None:
        vertex, stream = str(given.get("vertex")), _STREAMS.get(given.get("stream", 1), "stdout")
        key = (vertex, stream)
        *lines, rest = (self._rest.pop(key, b"") + _decoded(given.get("data"))).split(b"\n")
        while len(rest) >= LINE_LIMIT:  # as in process.stream
            lines.append(rest[:LINE_LIMIT])
            rest = rest[LINE_LIMIT:]
        if rest:
            self._rest[key] = rest
        for line in lines:
            await self._output.write(stream, line, step=self._name(vertex), at=_time(str(given.get("timestamp", ""))))

    def _name(self, vertex: str) -> str:
        found = self._vertices.get(vertex)
        return found.name[:80] if found else ""


def _object(line: bytes) -> dict[str, Any] | None:
    if not line.startswith(b"{"):
        return None
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _list(found: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [one for one in found.get(name) or [] if isinstance(one, dict)]


def _decoded(data: object) -> bytes:
    try:
        return base64.b64decode(str(data or ""))
    except (binascii.Error, ValueError):
        return b""


def _time(text: str) -> str:
    """Milliseconds are enough, and what every other line has."""
    head, dot, fraction = text.rstrip("Z").partition(".")
    return f"{head}.{fraction[:3]:0<3}Z" if head and dot else f"{head}.000Z" if head else ""


def _seconds(one: _Vertex) -> float:
    if not one.completed or one.cached:
        return 0.0
    begun, ended = (datetime.fromisoformat(_time(text)) for text in (one.started, one.completed))
    return round((ended - begun).total_seconds(), 3)
