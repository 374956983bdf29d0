"""What one look at everything says of the moment that it shows."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from msgspec.structs import replace

from console import overview
from console.projection import Projection
from pipeline.records import Job, Project, Record
from tests.integration import console_records as data


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


def test_what_was_removed_and_runs_no_more_is_shown_to_who_asks_for_it_alone(tmp_path: Path) -> None:
    db = Overtaken(tmp_path / "p.sqlite")
    for seq, record in enumerate((*data.shop(), replace(data.target(2, "", ""), deployment="", release="")), 1):
        db.write(record, seq * 10)
    assert [one["status"] for one in overview.status(db, "shop", "", "")["services"]] == ["removed"], "it still stops"

    db.write(replace(data.live(2, data.IMAGE2, data.AT2), deployment="", replicas=(), status="removed"), 990)

    assert overview.status(db, "shop", "", "")["services"] == []
    assert [one["status"] for one in overview.status(db, "shop", "", "web")["services"]] == ["removed"]
    db.close()


def test_a_service_is_known_while_it_is_built_for_the_first_time(tmp_path: Path) -> None:
    db = Overtaken(tmp_path / "p.sqlite")
    db.write(Project(slug="blog"), 1)
    db.write(Job(run="r-1", project="blog", service="web", status="building", created_at=data.AT2, spec="{}"), 2)

    assert overview.status(db, "blog", "", "web")["services"] == []
    db.close()
