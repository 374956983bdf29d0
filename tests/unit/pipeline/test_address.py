"""Addresses: what is one, where it leads, and that nothing secret of it is shown."""

from __future__ import annotations

import pytest

from pipeline.address import Address


@pytest.mark.parametrize(
    ("text", "host_header", "target"),
    [
        ("http://registry.example", "registry.example", "/"),
        ("https://registry.example:5000/v2/a?b=c%20d", "registry.example:5000", "/v2/a?b=c%20d"),
        ("http://[::1]:5000/v2/", "[::1]:5000", "/v2/"),
        ("https://registry.example:443/v2/\u00e9 #part", "registry.example", "/v2/%C3%A9%20"),
    ],
)
def test_an_address_says_whom_to_ask_and_for_what(text: str, host_header: str, target: str) -> None:
    address = Address.parse(text)

    assert (address.host_header, address.target) == (host_header, target)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/v2/",
        "ftp://a/",
        "http://",
        "http://user:word@host/",
        "http://host:no/",
        "http://host:70000/",
        "http://[::",
    ],
)
def test_what_is_no_address_or_holds_a_login_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Address.parse(text)


@pytest.mark.parametrize(
    ("location", "leads"),
    [
        ("/v2/x?_state=a%2Bb", "http://one.example:5000/v2/x?_state=a%2Bb"),
        ("next?n=1", "http://one.example:5000/v2/next?n=1"),
        ("https://two.example/blob", "https://two.example/blob"),
        ("/a\r\nX: b", "http://one.example:5000/a%0D%0AX:%20b"),
    ],
)
def test_a_location_leads_on_from_where_it_was_said(location: str, leads: str) -> None:
    assert Address.parse("http://one.example:5000/v2/").joined(location).text == leads


def test_a_parameter_is_added_to_those_that_are_there() -> None:
    address = Address.parse("http://one.example/uploads/1?_state=x")

    assert address.asking("digest", "sha256:00").target == "/uploads/1?_state=x&digest=sha256%3A00"


def test_an_address_is_shown_without_what_may_be_secret() -> None:
    address = Address.parse("https://one.example/uploads/1?_state=secret")

    assert "secret" not in f"{address} {address!r}"
