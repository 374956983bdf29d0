"""Services whose builds wait for a while, and which of several builders built what, by their own word."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

from tests.support.components import needs
from tests.support.line import git


def services(folder: Path, count: int, *, seconds: int) -> None:
    """A repository of so many services; the one step of each build waits so long."""
    names = [f"s{number:02}" for number in range(count)]
    for name in names:
        place = folder / name
        place.mkdir(parents=True)
        shutil.copy(needs("busybox"), place / "busybox")
        (place / "name").write_text(f"{folder.name}-{name}")  # or the step of one build would be cached for the next
        (place / "Dockerfile").write_text(
            "FROM scratch\nCOPY busybox name /bin/\n"
            f'RUN ["/bin/busybox", "sleep", "{seconds}"]\nUSER 10001\n'
            'CMD ["/bin/busybox", "httpd", "-f", "-p", "8080"]\n'
        )
    listed = "".join(f"  {name}: {{path: {name}, port: 8080}}\n" for name in names)
    (folder / "enclii.yaml").write_text(f"services:\n{listed}")
    git("init", "-q", "-b", "main", cwd=folder)


def built(log: str) -> Counter[tuple[str, str]]:
    """How often a builder says that it has done a build, by run and service."""
    lines = [json.loads(line) for line in log.splitlines() if "build.requested done in" in line]
    return Counter((str(line["run"]), str(line["service"])) for line in lines)
