"""The calls: the real ``enclii`` program, mostly reading, some rolling back and resuming; which of them were errors."""

from __future__ import annotations

import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from console.client import REFUSED
from console.installation import Addresses
from tests.bench_cluster.soak.pace import paced
from tests.bench_cluster.soak.pushes import Pushes
from tests.support.components import SEARCH_PATH

PROGRAM: Final = Path(sys.executable).with_name("enclii")
CALLERS: Final = 6
LIMIT: Final = 330
"""Seconds after which a call has hung: longer than the longest deadline of its own."""
KINDS: Final = {"ps": 28, "status": 25, "releases": 15, "logs": 15, "why": 15, "write": 2}
DECIDED: Final = 60.0
"""Seconds after which a push is asked about."""
NO_ERROR: Final = frozenset({"nothing_to_roll_back_to", "not_held", "moved_meanwhile", "already_deployed"})
"""Refusals that are right: there is nothing to go back to, or a push was faster."""
_REASON: Final = re.compile(r"^  reason: (\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Call:
    """One run of the program."""

    kind: str
    words: tuple[str, ...]
    code: int
    said: str
    seconds: float

    @property
    def reason(self) -> str:
        found = _REASON.search(self.said)
        return found[1] if found else ""

    @property
    def is_error(self) -> bool:
        """Not done, unless it was rightly refused; or done, with something that only failures say."""
        if self.code == REFUSED:
            return self.reason not in NO_ERROR
        return self.code != 0 or "Traceback" in self.said or bool(self.reason)


class Calls:
    """Somebody at a terminal of the installation's machine; the rollbacks are all of one project."""

    def __init__(self, at: Addresses, pushes: Pushes, folder: Path, chance: random.Random) -> None:
        self.made: list[Call] = []
        self._env = {"PATH": SEARCH_PATH, "HOME": str(folder), "ENCLII_HOME": str(at.home)}
        self._folder = folder
        self._chance = chance
        self._writing = threading.Lock()
        self._writes = 0
        self._pushes = pushes
        folder.mkdir()

    @property
    def errors(self) -> list[Call]:
        return [call for call in self.made if call.is_error]

    def threads(self, count: int, seconds: float, ended: threading.Event) -> list[threading.Thread]:
        """Several callers, who share the calls."""
        plan = self._chance.choices(list(KINDS), list(KINDS.values()), k=count)
        return [
            paced(range(first, count, CALLERS), count, seconds, ended, lambda number: self._call(plan[number]))
            for first in range(CALLERS)
        ]

    def resume(self) -> None:
        """End the hold of the last rollback; no call of the measurement."""
        self._ran("resume", "resume", *self._place(self._written))

    @property
    def _written(self) -> str:
        return self._pushes.projects[0]

    def _call(self, kind: str) -> None:
        if kind == "write":
            with self._writing:
                verb = ("rollback", "resume")[self._writes % 2]
                self._writes += 1
                self.made.append(self._ran(verb, verb, *self._place(self._written)))
            return
        self.made.append(self._ran(kind, *self._read(kind)))

    def _read(self, kind: str) -> tuple[str, ...]:
        project = self._chance.choice(self._pushes.projects)
        if kind == "why":
            known = [one for one in self._pushes.accepted if one.at < time.monotonic() - DECIDED]
            return ("why", self._chance.choice(known).sha) if known else ("ps", "-p", project)
        return ("logs", "-n", "20", *self._place(project)) if kind == "logs" else (kind, "-p", project)

    @staticmethod
    def _place(project: str) -> tuple[str, ...]:
        return ("-p", project, "-e", "production", "-s", "web")

    def _ran(self, kind: str, *words: str) -> Call:
        begun = time.monotonic()
        try:
            done = subprocess.run(
                [str(PROGRAM), *words], cwd=self._folder, env=self._env, stdin=subprocess.DEVNULL,
                capture_output=True, text=True, timeout=LIMIT, check=False,
            )  # fmt: skip
            code, said = done.returncode, done.stderr
        except subprocess.TimeoutExpired:
            code, said = -1, f"it did not end within {LIMIT} s"
        return Call(kind, words, code, said, time.monotonic() - begun)

    def told(self) -> dict[str, Any]:
        """How many of each, how slow, what was refused, and each sort of error with an example."""
        errors = Counter(f"{call.kind}: {call.code} {call.reason}".strip() for call in self.errors)
        examples = {f"{call.kind}: {call.code} {call.reason}".strip(): call.said[-400:] for call in self.errors}
        refused = Counter(f"{call.kind}: {call.reason}" for call in self.made if call.code == REFUSED)
        took = {kind: sorted(call.seconds for call in self.made if call.kind == kind) for kind in self._kinds()}
        slow = {kind: [round(of[int(len(of) * part)], 2) for part in (0.5, 0.99)] for kind, of in took.items()}
        return {"calls": dict(Counter(call.kind for call in self.made)), "seconds_p50_p99": slow,
                "refused": dict(refused), "errors": dict(errors), "examples": examples}  # fmt: skip

    def _kinds(self) -> set[str]:
        return {call.kind for call in self.made}
