"""Domains, TLS and the entrance of an environment: what is read, and which field is named when it is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from gitops.domains import read
from pipeline.domains import Domains, Entrance, Tls
from pipeline.errors import Invalid

HOSTS = {"web": ["shop.example.com", "www.shop.example.com"]}


def test_an_environment_without_domains_has_none() -> None:
    assert read({}, "environments.production") == Domains()


def test_hosts_issuer_and_class_are_read() -> None:
    found = read({"domains": HOSTS, "tls": {"cluster-issuer": "le"}, "ingress": {"class": "nginx"}}, "e")

    assert found.hosts == {"web": ("shop.example.com", "www.shop.example.com")}
    assert (found.tls, found.entrance) == (Tls(kind="cluster-issuer", name="le"), Entrance(name="nginx"))


def test_a_gateway_takes_the_place_of_an_ingress() -> None:
    found = read({"domains": {"web": "shop.example.com"}, "ingress": {"gateway": "public", "section": "https"}}, "e")

    assert found.entrance == Entrance(kind="gateway", name="public", section="https")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"domains": {"web": ["Shop.example.com"]}}, "e.domains.web has 'Shop.example.com'"),
        ({"domains": {"web": []}}, "e.domains.web must be a host name or a list"),
        ({"domains": {"Web": ["a.example"]}}, "e.domains service 'Web'"),
        (
            {"domains": {"web": ["a.example"], "api": ["a.example"]}},
            "e.domains.api has a.example, which belongs to web",
        ),
        ({"tls": {"issuer": "a", "secret": "b"}}, "e.tls must have exactly one of"),
        ({"tls": {"issuer": "A B"}}, "e.tls.issuer must be the name of an object"),
        ({"ingress": {"klass": "x"}}, "e.ingress has an unknown key 'klass'"),
        ({"ingress": {"class": "x", "gateway": "y"}}, "e.ingress has both class and gateway"),
        ({"ingress": {"section": "y"}}, "e.ingress has section, which needs a gateway"),
        ({"ingress": {"annotations": {"a": 1}}}, "e.ingress.annotations must map texts to texts"),
        ({"tls": {"secret": "a"}, "ingress": {"gateway": "y"}}, "e.tls belongs to the Gateway"),
    ],
)
def test_what_is_wrong_is_named_by_its_field(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(Invalid) as caught:
        read(fields, "e")

    assert said in caught.value.message
