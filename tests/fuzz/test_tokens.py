"""Tokens of an identity provider and our own: of all that is made of a good one, it alone counts."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.identity.bearers import Bearers
from console.identity.claims import Naming
from console.identity.issuer import Issuer
from pipeline.errors import EncliiError
from pipeline.token_text import new_text, number_in
from tests.fuzz.inputs import broken, fuzzed, worsened
from tests.support.provider import CLIENT, Provider, running_provider

pytestmark = pytest.mark.filterwarnings("ignore:EdDSA is deprecated", "ignore:Generating overly large repr")
HOURS = 36_000


def parts(token: str) -> tuple[bytes, ...]:
    """What a token says, as bytes: the last bits of its text may differ and say the same."""
    try:
        return tuple(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in token.split("."))
    except (binascii.Error, ValueError):
        return ()


def encoded(document: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


def changed(provider: Provider, good: str) -> st.SearchStrategy[str]:
    """The good token with bytes changed, and one that says something else under the good one's signature."""
    head, claims, signature = good.split(".")
    said, header = json.loads(parts(good)[1]), json.loads(parts(good)[0])
    odd = st.sampled_from(["none", "None", "HS256", "RS256", "ES256", "EdDSA", ""])
    return st.one_of(
        broken([good.encode()]).map(lambda text: text.decode("latin-1")),
        worsened([said]).map(lambda one: f"{head}.{encoded(one)}.{signature}"),
        worsened([header]).map(lambda one: f"{encoded(one)}.{claims}.{signature}"),
        st.builds(
            lambda alg, end: f"{encoded(header | {'alg': alg})}.{claims}.{end}", odd, st.just(signature) | st.just("")
        ),
    )


def test_of_a_providers_token_and_all_that_is_made_of_it_only_itself_opens_the_api() -> None:
    with running_provider() as provider, asyncio.Runner() as runner:
        bearers = Bearers(people=Issuer(provider.url), others=(), audience=CLIENT, naming=Naming())
        good = provider.token(exp=int(time.time()) + HOURS)
        ada = runner.run(bearers.principal(good))
        assert ada is not None

        @fuzzed
        @given(changed(provider, good))
        def each(token: str) -> None:
            try:
                found = runner.run(bearers.principal(token))
            except EncliiError:
                return
            assert found is None or (found == ada and parts(token) == parts(good))

        each()


def test_what_a_provider_signs_is_a_person_or_refused_whatever_it_says() -> None:
    with running_provider() as provider, asyncio.Runner() as runner:
        bearers = Bearers(
            people=Issuer(provider.url), others=(), audience=CLIENT, naming=Naming(admins=("group:admins",))
        )
        usual = json.loads(parts(provider.token(exp=int(time.time()) + HOURS))[1])

        @fuzzed
        @given(worsened([usual]).map(lambda one: json.loads(json.dumps(one).replace("\\ud800", "?"))))
        def each(said: dict[str, Any]) -> None:
            try:
                found = runner.run(bearers.principal(provider.token(**(dict.fromkeys(usual) | said))))
            except EncliiError:
                return
            assert found is not None
            assert said["iss"] == provider.url
            assert CLIENT in said["aud"]
            assert not found.name.startswith("group:")

        each()


@fuzzed
@given(broken([new_text("0123456789ab").encode()]).map(lambda text: text.decode("latin-1")) | st.text())
def test_a_text_is_a_token_of_ours_by_its_whole_form_alone(text: str) -> None:
    number = number_in(text)

    assert (number != "") == (len(text) == 63 and text.isascii() and text.startswith(f"enclii_{number}_"))


def test_a_text_that_we_give_out_has_its_number() -> None:
    assert number_in(new_text("0123456789ab")) == "0123456789ab"
