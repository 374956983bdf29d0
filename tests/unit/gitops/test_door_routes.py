from __future__ import annotations

import pytest

from gitops.door.routes import RouteTable, canonical_host, split_address
from pipeline.errors import Invalid

HOST = "web.shop.localhost"


def table_with(*addresses: str) -> RouteTable:
    table = RouteTable()
    table.set(HOST, addresses, seq=1)
    return table


@pytest.mark.parametrize("authority", ["WEB.shop.localhost:8080", "web.shop.localhost.", " web.shop.localhost "])
def test_a_host_is_compared_without_case_port_and_trailing_dot(authority: str) -> None:
    assert canonical_host(authority) == HOST


def test_upstreams_take_turns() -> None:
    table = table_with("127.0.0.1:1", "127.0.0.1:2")
    assert [table.acquire(HOST) for _ in range(4)] == ["127.0.0.1:1", "127.0.0.1:2"] * 2


def test_an_avoided_upstream_is_passed_over() -> None:
    table = table_with("127.0.0.1:1", "127.0.0.1:2")
    assert table.acquire(HOST, avoid={"127.0.0.1:1"}) == "127.0.0.1:2"


def test_an_older_change_never_overwrites_a_newer_one() -> None:
    table = table_with("127.0.0.1:1")
    assert table.set(HOST, ["127.0.0.1:3"], seq=3)
    assert not table.set(HOST, ["127.0.0.1:2"], seq=2)
    assert table.upstreams(HOST) == ("127.0.0.1:3",)


def test_a_removed_host_does_not_come_back_by_a_late_change() -> None:
    table = table_with("127.0.0.1:1")
    table.remove(HOST, seq=5)
    assert not table.set(HOST, ["127.0.0.1:1"], seq=4)
    assert not table.has(HOST)


def test_a_removed_upstream_is_listed_until_its_last_request_ends() -> None:
    table = table_with("127.0.0.1:1")
    address = table.acquire(HOST)
    table.set(HOST, ["127.0.0.1:2"], seq=2)
    assert table.in_flight_by_address(HOST) == {"127.0.0.1:1": 1, "127.0.0.1:2": 0}
    table.release(HOST, address or "")
    assert table.in_flight_by_address(HOST) == {"127.0.0.1:2": 0}


@pytest.mark.parametrize("address", ["", "127.0.0.1", "127.0.0.1:", ":80", "127.0.0.1:web", "127.0.0.1:0", "h:70000"])
def test_an_address_that_cannot_be_dialled_is_refused(address: str) -> None:
    with pytest.raises(Invalid):
        split_address(address)
