"""One process of the line that stops itself (SIGSTOP) with its work in hand, once: ``PROCESS FILE``.

The committer stops with its commit ready to be pushed, the syncer with what is wanted read and not yet started. FILE
says that it stopped.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

from pipeline.main import main

PLACES = {
    "committer": ("gitops.git.configrepo", "ConfigRepo", "push"),
    "syncer": ("gitops.syncing.placement", "Clusters", "leading"),
}


def run(name: str, mark: Path) -> None:
    """The process as it always is, but for the pause."""
    module, owner, method = PLACES[name]
    of = getattr(importlib.import_module(module), owner)
    real = getattr(of, method)

    def paused(*given: Any) -> Any:
        if not mark.exists() and mark.with_suffix(".armed").exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGSTOP)
        return real(*given)

    setattr(of, method, paused)
    main(name, importlib.import_module("gitops.__main__").PROCESSES[name])


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]))
