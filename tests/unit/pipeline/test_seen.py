"""What was read from a registry and is kept."""

from __future__ import annotations

from pipeline.seen import Seen


def test_what_was_asked_for_longest_ago_goes_first() -> None:
    seen = Seen(total=10, largest=5)
    for name in ("one", "two"):
        seen.keep("shop/web", name, b"12345")
    seen.get("shop/web", "one")

    seen.keep("shop/web", "three", b"12345")

    assert [seen.get("shop/web", name) is not None for name in ("one", "two", "three")] == [True, False, True]


def test_what_is_too_large_and_what_is_forgotten_is_not_kept() -> None:
    seen = Seen(total=10, largest=5)
    assert seen.keep("shop/web", "large", b"123456") == b"123456"
    seen.keep("shop/web", "small", b"12345")

    seen.forget("shop/web", ["small", "never seen"])

    assert [seen.get("shop/web", name) for name in ("large", "small")] == [None, None]
    for number in range(2):  # what was forgotten takes no room any more
        seen.keep("shop/web", str(number), b"12345")
    assert seen.get("shop/web", "0") == b"12345"


def test_repositories_do_not_share_what_only_one_of_them_was_seen_to_have() -> None:
    seen = Seen()
    seen.keep("shop/web", "one", b"1")

    assert seen.get("shop/preview", "one") is None
