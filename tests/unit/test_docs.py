"""The documents keep up with the code: what is named there exists here, and what exists here is named there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from console.cli import COMMANDS
from pipeline.events import TYPES
from pipeline.records import KINDS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def table(page: Path, heading: str) -> set[str]:
    """The first cells, in backticks, of the tables below a heading of the second level."""
    section = page.read_text().split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return set(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE))


def anchors(page: Path) -> set[str]:
    """The names by which a page's headings can be linked to."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    file = page.parent / path if path else page
    return not file.exists() or (bool(anchor) and anchor not in anchors(file))


def test_every_event_is_in_the_table_of_events() -> None:
    assert set(TYPES) == table(DOCS / "events.md", "Events")


def test_every_record_is_in_the_table_of_records() -> None:
    assert set(KINDS) <= table(DOCS / "events.md", "Records")


def test_every_command_has_a_section() -> None:
    headings = re.findall(r"^## (.+)$", (DOCS / "cli.md").read_text(), re.MULTILINE)

    assert headings == list(COMMANDS)


def test_every_decision_is_listed() -> None:
    listed = set(LINK.findall((DOCS / "adr" / "README.md").read_text()))

    assert listed == {page.name for page in (DOCS / "adr").glob("0*.md")}


def test_the_readme_says_linux_first_and_stays_short() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()

    assert len(lines) <= 150
    assert any("Linux only" in line for line in lines[:4])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_link_between_the_pages_is_broken(page: Path) -> None:
    links = LINK.findall(FENCE.sub("", page.read_text()))

    assert [link for link in links if "://" not in link and broken(page, link)] == []


def test_each_row_of_the_slsa_page_that_holds_names_its_test() -> None:
    rows = [line for line in (DOCS / "slsa.md").read_text().splitlines() if line.startswith("| ")][2:]
    unproven = [row for row in rows if "`test_" not in row.split("|")[4]]

    assert len(rows) > 12
    assert [row for row in unproven if not row.split("|")[3].strip().startswith("not ")] == []


def test_each_attack_of_the_threat_model_names_the_test_that_tries_it() -> None:
    attacks = (DOCS / "security.md").read_text().split("\n## 1. ", 1)[1]
    rows = [
        line for line in attacks.splitlines() if line.startswith("| ") and not line.startswith(("| attack", "| ---"))
    ]

    assert len(rows) > 50
    assert [row for row in rows if "::test_" not in row.split("|")[3]] == []


def test_every_test_that_a_page_names_exists() -> None:
    known = {
        f"{file.name}::{name}"
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)
    }
    named = {one for page in PAGES for one in re.findall(r"`(test_\w+\.py::test_\w+)`", page.read_text())}
    files = {one for page in PAGES for one in re.findall(r"`(?:tests/[\w/]+/)?(test_\w+\.py)`", page.read_text())}
    assert named
    assert named <= known
    assert files <= {one.partition("::")[0] for one in known}


def test_each_of_the_24_rules_has_a_test_that_names_its_number() -> None:
    rows = re.findall(
        r"^\| (\d+) \| .* \| `(test_\w+\.py)::(test_\w+)` \|$", (DOCS / "rules.md").read_text(), re.MULTILINE
    )
    unnamed = [
        (rule, file, name)
        for rule, file, name in rows
        if not any(rule in named_rules(path.read_text(), name) for path in (ROOT / "tests").rglob(file))
    ]

    assert [int(rule) for rule, _, _ in rows] == list(range(1, 25))
    assert unnamed == []


def named_rules(source: str, name: str) -> set[str]:
    """The numbers after "rule" in a test's name and in the line below it."""
    _, _, rest = source.partition(f"def {name}(")
    said = f"{name}\n{rest[:400].partition('async def')[0]}"
    runs = re.findall(r"rules?[_ ]((?:\d+|_and_| and |, |_)+)", said, re.IGNORECASE)
    return {number for run in runs for number in re.findall(r"\d+", run)}
