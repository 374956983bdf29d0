"""The Caddyfile before the front door: what it says."""

from __future__ import annotations

from typing import Any

from console.commands.caddyfile import render

SITE: dict[str, Any] = {
    "project": "shop", "environment": "production", "service": "web", "tls": True,
    "hosts": ["shop.example.com", "www.shop.example.com"], "address": "http://web.shop.localhost:7088",
}  # fmt: skip


def test_names_with_tls_are_left_to_caddy_and_others_stay_plain() -> None:
    plain = {**SITE, "service": "api", "tls": False, "hosts": ["api.example.com"]}

    text = render([SITE, plain])

    assert "\nshop.example.com, www.shop.example.com {\n" in text
    assert "\nhttp://api.example.com {\n" in text


def test_a_service_without_an_address_is_a_comment() -> None:
    assert "# shop/production web has no address yet." in render([{**SITE, "address": ""}])


def test_a_request_goes_to_the_door_under_the_doors_own_name() -> None:
    assert render([SITE]).splitlines()[-6:] == [
        "# shop/production web",
        "shop.example.com, www.shop.example.com {",
        "\treverse_proxy 127.0.0.1:7088 {",
        "\t\theader_up Host web.shop.localhost",
        "\t}",
        "}",
    ]
