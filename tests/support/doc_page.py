"""The commands of a page of the documentation, as a person copies them into a shell."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIMIT = 240


def blocks(page: str, heading: str) -> list[str]:
    """The commands of each console block below a heading of a page in ``docs``, up to the next heading."""
    text = (ROOT / "docs" / page).read_text()
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.DOTALL | re.MULTILINE)
    assert found, f"{page} has no heading {heading}"
    return [commands(one) for one in re.findall(r"^```console\n(.*?)^```", found[1], re.DOTALL | re.MULTILINE)]


def commands(block: str) -> str:
    """What is typed: lines that begin with a prompt, and those that continue them."""
    typed, goes_on = [], False
    for line in block.splitlines():
        if goes_on or line.startswith("$ "):
            typed.append(line if goes_on else line.removeprefix("$ "))
            goes_on = line.endswith("\\")
    return "\n".join(typed) + "\n"


@dataclass
class Shell:
    """A person's shell in one folder: what the page calls by example names has names of its own here."""

    folder: Path
    env: Mapping[str, str]
    names: dict[str, str] = field(default_factory=dict)
    """Each pattern of the page, and what it is here."""

    def run(self, text: str) -> str:
        """Run the commands; the first that fails ends them, and the test. Returns what they printed."""
        for pattern, own in self.names.items():
            text = re.sub(pattern, own, text)
        done = subprocess.run(
            ["/bin/bash", "-ec", text], cwd=self.folder, env=dict(self.env), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LIMIT, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{text}\n{done.stdout}"
        return done.stdout
