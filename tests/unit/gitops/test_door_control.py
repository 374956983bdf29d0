"""What the door is asked on its loopback port."""

from __future__ import annotations

import pytest

from gitops.door.control import LONGEST_WAIT, BadQuestion, drained_question, routes_view
from gitops.door.routes import RouteTable

ADDRESS = "127.0.0.1:9"


def test_a_question_names_host_address_sequence_and_patience() -> None:
    asked = drained_question("host=web.shop.localhost&address=127.0.0.1%3A9&seq=7&timeout=2.5")

    assert asked == ("web.shop.localhost", ADDRESS, 7, 2.5)


@pytest.mark.parametrize(("given", "taken"), [("-1", 0.0), ("1e9", LONGEST_WAIT)])
def test_patience_has_bounds(given: str, taken: float) -> None:
    assert drained_question(f"host=h&address={ADDRESS}&timeout={given}")[3] == taken


@pytest.mark.parametrize("query", ["", "host=h", "host=h&address=a&seq=x", "host=h&address=a&timeout=nan"])
def test_a_bad_question_is_told_so(query: str) -> None:
    with pytest.raises(BadQuestion):
        drained_question(query)


def test_the_routes_are_shown_with_what_is_in_flight() -> None:
    table = RouteTable()
    table.set("web.shop.localhost", [ADDRESS], 3)

    shown = routes_view(table)["web.shop.localhost"]

    assert (shown["seq"], shown["upstreams"]) == (3, [ADDRESS])
