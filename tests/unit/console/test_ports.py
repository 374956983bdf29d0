"""Which port is taken, given what is kept and what is free."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from console import ports
from pipeline.errors import Unavailable
from pipeline.settings import PROCESSES


def test_the_documented_ports_are_preferred() -> None:
    assert ports.choose({}, lambda _: True) == ports.PREFERRED


def test_a_port_in_use_is_stepped_around_without_taking_another_of_ours() -> None:
    taken = ports.choose({}, lambda port: port != 7080)

    assert taken["console"] == 7083
    assert len(set(taken.values())) == len(taken)


def test_what_was_taken_once_is_taken_again() -> None:
    assert ports.choose({"console": 9_000}, lambda _: True)["console"] == 9_000


def test_the_registry_is_never_moved_because_image_names_hold_its_port() -> None:
    with pytest.raises(Unavailable) as refused:
        ports.choose({"registry": 9_000}, lambda port: port != 9_000)

    assert refused.value.reason == "port_taken"


def test_a_listening_port_is_not_free_on_whatever_address_it_listens() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        assert not ports.is_free(server.getsockname()[1])


def test_the_file_reads_back_and_a_broken_one_is_as_none(tmp_path: Path) -> None:
    file = tmp_path / "ports.toml"
    file.write_text(ports.render(ports.PREFERRED))
    assert ports.read(file) == ports.PREFERRED
    file.write_text("console = [")
    assert ports.read(file) == {}


def test_every_process_has_a_port_for_its_health() -> None:
    assert {f"{name}_ops" for name in PROCESSES} <= ports.PREFERRED.keys() == ports.MEANING.keys()
