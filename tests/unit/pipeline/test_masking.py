"""Secrets in a stream of bytes: found in every form, at every border, and nothing else taken out."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.masking import MASK, Masker

SECRET = b"correct horse battery staple"


@pytest.mark.parametrize("before", [b"", b"x", b"xy", b"xyz"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_base64_of_a_value_is_masked_wherever_it_stands(before: bytes, encode: object) -> None:
    line = encode(before + SECRET + b"\xff?tail")  # type: ignore[operator]

    masked = Masker([SECRET]).mask(line)

    assert masked.count(MASK) == 1
    assert len(masked.replace(MASK, b"")) <= len(before) + len(b"\xff?tail") + 8


@pytest.mark.parametrize(
    "line",
    [SECRET, SECRET.hex().encode(), b"correct%20horse%20battery%20staple"],
    ids=["plain", "hexadecimal", "percent"],
)
def test_every_form_is_masked(line: bytes) -> None:
    assert Masker([SECRET]).mask(b"a " + line + b" b") == b"a [secret] b"


@pytest.mark.parametrize(
    "form",
    [
        b"p%40ss%2Fw%2Frd%20%22x%22",  # Python's quote with safe=""
        b"p%40ss%2fw%2frd%20%22x%22",
        b"p%40ss/w/rd%20%22x%22",  # its default
        b"p%40ss%2Fw%2Frd+%22x%22",  # a form
        b'p@ss/w/rd \\"x\\"',  # JSON
    ],
)
def test_a_value_is_masked_as_addresses_forms_and_json_write_it(form: bytes) -> None:
    assert Masker([b'p@ss/w/rd "x"']).mask(b"{" + form + b"}") == b"{[secret]}"


def test_a_value_is_masked_as_javascript_encodes_it() -> None:
    assert Masker([b"it's (a) #1!"]).mask(b"?q=it's%20(a)%20%231!") == b"?q=[secret]"


def test_each_line_of_a_long_value_is_masked() -> None:
    masker = Masker([b"-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQ\n"])

    assert masker.mask(b"kqhkiG9w0BAQ") == MASK


def test_wrapped_base64_is_masked_line_by_line() -> None:
    value = bytes(range(33, 120)) * 3
    lines = base64.encodebytes(value).splitlines()

    assert all(MASK in Masker([value]).mask(line) for line in lines)


def test_short_values_are_left_as_they_are() -> None:
    assert Masker([b"abc", b""]).mask(b"abc") == b"abc"


@given(st.binary(max_size=80), st.binary(max_size=80), st.integers(1, 40))
def test_where_the_stream_is_cut_makes_no_difference(before: bytes, after: bytes, size: int) -> None:
    data = before + SECRET + after
    masker = Masker([SECRET])
    pieces = [data[start : start + size] for start in range(0, len(data), size)]

    got = b"".join(masker.mask(piece, more=True, of="x") for piece in pieces) + masker.mask(b"", of="x")

    assert got == Masker([SECRET]).mask(data)


def test_streams_are_told_apart() -> None:
    masker = Masker([SECRET])
    first = masker.mask(SECRET[:10], more=True, of="a")

    assert masker.mask(b"plain", of="b") == b"plain"
    assert first + masker.mask(SECRET[10:], of="a") == MASK
