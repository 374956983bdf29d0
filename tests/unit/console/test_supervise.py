"""The text that supervisor is given, and what it must never be given."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

from console import programs
from console.supervise import ENCLII, STORES, Program, files, render
from pipeline.errors import Invalid
from pipeline.settings import PROCESSES

ROOT = Path(__file__).parents[3]
HOME = Path("/srv/enclii")
RUNTIME = Path("/run/enclii")


def _parsed(*several: Program) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"))
    parser.read_string(render(several, files(HOME, instance="e1", runtime=RUNTIME), cwd=HOME))
    return parser


def test_the_kernel_ends_a_program_when_its_supervisor_dies() -> None:
    section = _parsed(Program("door", ("python", "-m", "gitops", "door")))["program:door"]

    assert section["command"] == '"setpriv" "--pdeathsig" "TERM" "--" "python" "-m" "gitops" "door"'


def test_term_goes_to_the_process_alone_and_kill_to_its_group() -> None:
    section = _parsed(Program("builder", ("b",), stop=30))["program:builder"]

    assert (section["stopasgroup"], section["killasgroup"], section["stopwaitsecs"]) == ("false", "true", "30")


def test_a_program_that_ends_is_started_again_whatever_its_code() -> None:
    section = _parsed(Program("builder", ("b",)))["program:builder"]

    assert section["autorestart"] == "true"
    assert int(section["startretries"]) >= 1_000_000


def test_the_stores_begin_first_and_so_end_last() -> None:
    parser = _parsed(Program("nats", ("n",), group=STORES), Program("door", ("d",)), Program("console", ("c",)))

    assert int(parser[f"group:{STORES}"]["priority"]) < int(parser[f"group:{ENCLII}"]["priority"])
    assert parser[f"group:{ENCLII}"]["programs"] == "door,console"


def test_percent_signs_spaces_and_quotes_survive() -> None:
    section = _parsed(Program("door", ('a "b" %c',), env={"ENCLII_X": "50% of, it"}))["program:door"]

    assert section["command"].endswith(r'"a \"b\" %%c"')
    assert section["environment"] == 'ENCLII_X="50%% of, it"'


@pytest.mark.parametrize("value", ["two\nlines", "a ;comment", "a #comment", 'a"b', "'a"])
def test_what_supervisor_would_misread_is_refused(value: str) -> None:
    with pytest.raises(Invalid):
        _parsed(Program("door", ("d",), env={"ENCLII_X": value}))


def test_the_socket_is_in_the_state_folder_while_the_kernel_takes_the_path() -> None:
    deep = Path("/srv") / ("x" * 100)

    assert files(HOME, instance="e1", runtime=RUNTIME).socket == HOME / "supervisor.sock"
    assert files(deep, instance="e1", runtime=RUNTIME).socket.is_relative_to(RUNTIME)


def test_the_procfile_starts_what_the_supervisor_starts() -> None:
    lines = (ROOT / "Procfile").read_text().splitlines()

    wanted = [f"{name}: {' '.join(('python', *programs.arguments(name)))}" for name in PROCESSES]

    assert [line.partition(":")[0] for line in lines[:2]] == ["nats", "registry"]
    assert lines[2:] == wanted
