"""The runbooks' commands are ones that exist: whoever reads a page at night types them as they stand there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from console.cli import enclii
from console.operations import READS
from pipeline.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs" / "runbooks").glob("*.md"), ROOT / "docs" / "runbook.md"])
INCIDENTS = {
    "stuck-run", "nats-node-lost", "nats-store-lost", "registry-full", "signing-key", "webhook-secret", "forge-down",
    "config-force-pushed", "bad-release", "builder-disk-full", "restore", "uninstall",
}  # fmt: skip


def typed(text: str) -> list[list[str]]:
    """The words of each command line of ``enclii``, in blocks and within sentences."""
    inline = re.findall(r"`(enclii [^`]+)`", text)
    lines = re.findall(r"^ *(enclii .*)$", text, re.MULTILINE)
    parts = [part.strip() for line in (*inline, *lines) for part in line.replace("\n", " ").split("&&")]
    return [shlex.split(part, comments=True) for part in parts]


def parse(words: list[str]) -> None:
    """As the program parses them, down to the last command; nothing is run. Raises click.UsageError."""
    context = enclii.make_context("enclii", words)
    command: click.Command = enclii
    while isinstance(command, click.Group) and (rest := [*context._protected_args, *context.args]):
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None
        command, context = found, found.make_context(name, rest, parent=context)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_a_runbook_is_one_that_the_program_takes(page: Path) -> None:
    for words in typed(page.read_text()):
        if len(words) > 1:
            parse(words[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_address_and_setting_of_a_runbook_is_there(page: Path) -> None:
    asked = [words[3].partition("?")[0] for words in typed(page.read_text()) if words[1:3] == ["api", "GET"]]
    known = [re.compile(re.sub(r"\{[^}]+\}", ".+", path)) for path in READS]
    settings = {name.removeprefix("ENCLII_").lower() for name in re.findall(r"ENCLII_[A-Z_]+", page.read_text())}

    assert [path for path in asked if not any(one.fullmatch(path) for one in known)] == []
    assert settings - set(Settings.__dataclass_fields__) == set()


def test_each_incident_and_alert_has_a_page_that_says_how_it_was_tried() -> None:
    said = {page.stem: page.read_text().partition("**Tried.**")[2] for page in PAGES if page.parent.name == "runbooks"}
    del said["README"]

    assert said.keys() >= INCIDENTS
    assert [name for name, tried in said.items() if not re.search(r"`(tests/\S+/)?test_\w+\.py`", tried)] == []


def test_a_command_that_the_program_does_not_take_is_found() -> None:
    for wrong in (["freeze", "--because", "x"], ["parked", "undo", "1"], ["trace"], ["explode"]):
        with pytest.raises(click.UsageError):
            parse(wrong)
