"""One process of the line that kills itself at exact boundaries: ``PROCESS FOLDER [PROJECT]``.

It works on the project ``dying-<process>``, or on the named one, and dies before the step that makes its work true: the
side effects are done and nothing is recorded. Its successor dies behind that step: recorded, and the event not
acknowledged. Files in FOLDER, written first, say which deaths were died.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.main import Process, main
from pipeline.records import Deployment, Job, Live, Record, Release, Run
from pipeline.store import Step, Store

ROOMS = {"planner": "pipeline", "builder": "pipeline", "signer": "pipeline", "committer": "gitops", "syncer": "gitops"}
MARKS: dict[str, type[Record]] = {
    "planner": Run, "builder": Job, "signer": Release, "committer": Deployment, "syncer": Live,
}  # fmt: skip


@dataclass(frozen=True)
class DyingStore(Store):
    """The real store; the process dies before or after the step that a test waits for."""

    folder: Path = field(default_factory=Path)
    project: str = ""

    async def commit(self, step: Step) -> None:
        self._die(step, "before")
        await super().commit(step)
        self._die(step, "after")

    def _die(self, step: Step, moment: str) -> None:
        mark = self.folder / f"{self.source}-{moment}"
        if not mark.exists() and any(self._is_it(change.record) for change in step.changes):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def _is_it(self, record: Record) -> bool:
        """The builder's first step only says that it began; its work is done in the one that hands over."""
        if not isinstance(record, MARKS[self.source]) or getattr(record, "project", "") != self.project:
            return False
        return not isinstance(record, Job) or record.status == "signing"


def run(name: str, folder: Path, project: str = "") -> None:
    """The process as it always is, over a store that dies."""
    body = importlib.import_module(f"{ROOMS[name]}.__main__").PROCESSES[name]

    async def dying(process: Process) -> None:
        process.store = DyingStore(
            process.store.bus, process.name, process.store.guard, folder=folder, project=project or f"dying-{name}"
        )
        await body(process)

    main(name, dying)


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
