"""Addresses that a login may lead to."""

from __future__ import annotations

import pytest

from console.web.security import local_path


@pytest.mark.parametrize("path", ["/", "/runs/r-1", "/services/shop/production/web/logs?q=a%20b"])
def test_a_path_of_this_site_is_followed(path: str) -> None:
    assert local_path(path) == path


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.test/", "//evil.test", "/\\evil.test", "\\\\evil.test", "javascript:alert(1)", "runs", "",
        "/\t/evil.test",
        "/\r\nSet-Cookie: a=b", "///evil.test", "/login?next=/", "/logout", "/" + "a" * 3_000, "/\u2025/evil",
    ],
)  # fmt: skip
def test_an_address_elsewhere_becomes_the_overview(elsewhere: str) -> None:
    assert local_path(elsewhere) == "/"
