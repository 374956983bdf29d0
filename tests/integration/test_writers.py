"""What the doctor says of another Enclii on the same config repository."""

from __future__ import annotations

from pathlib import Path

from console import writers
from gitops.committing.instances import FINDING
from pipeline.records import ConfigTip, Decision
from tests.integration.console_server import Console, with_console


def test_another_writer_is_an_error_until_this_one_has_written_again(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        assert writers.checks(console.projection) == []
        found = Decision(
            id=FINDING, about="commit", outcome="failed", reason="another_instance", message="another Enclii",
            at="2026-11-23T12:00:00.000Z",
        )  # fmt: skip
        await console.put(ConfigTip(commit="a" * 40, at="2026-11-23T11:00:00.000Z"), found)
        assert [(one["level"], one["message"]) for one in writers.checks(console.projection)] == [
            ("error", "another Enclii")
        ]
        await console.put(ConfigTip(commit="b" * 40, at="2026-11-23T13:00:00.000Z"))
        assert writers.checks(console.projection) == []

    with_console(tmp_path, story)
