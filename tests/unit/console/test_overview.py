"""What one look at everything says of the moment that it shows."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from console import overview
from console.projection import Projection
from pipeline.records import Project, Record


class Overtaken(Projection):
    """A projection that goes on while it is read."""

    def find(self, *arguments: Any, **more: Any) -> Any:
        found = super().find(*arguments, **more)
        self.write(Project(slug="other"), self.position() + 1)
        return found

    def write(self, record: Record, seq: int) -> None:
        told = SimpleNamespace(subject=record.subject, data=record.encode(), seq=seq)
        self.apply([told])  # type: ignore[list-item]


def test_who_waits_behind_what_was_read_misses_nothing_that_came_meanwhile(tmp_path: Path) -> None:
    db = Overtaken(tmp_path / "p.sqlite")
    db.write(Project(slug="shop"), 7)

    seen = overview.status(db, "", "", "")

    assert seen["seq"] == 7 < db.position()
    db.close()
