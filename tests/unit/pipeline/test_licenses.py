from __future__ import annotations

import pytest

from pipeline.licenses import allowed, choices


def _denied(name: str) -> bool:
    return name.startswith("GPL")


@pytest.mark.parametrize(
    ("expression", "good"),
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("MIT OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("MIT AND (Apache-2.0 OR GPL-2.0-only)", True),
        ("(GPL-2.0-only OR GPL-3.0-only) AND MIT", False),
        ("GPL-2.0-only WITH Classpath-exception-2.0", False),
        ("Apache-2.0 WITH LLVM-exception", True),
        ("mit or gpl-3.0-only", True),
    ],
)
def test_an_expression_is_allowed_when_one_choice_has_nothing_denied(expression: str, good: bool) -> None:
    assert allowed(expression, _denied) is good


@pytest.mark.parametrize("text", ["", "A B", "(MIT", "MIT)", "AND", "MIT OR", "MIT WITH", "(" * 5_000])
def test_what_is_no_expression_is_one_name(text: str) -> None:
    assert choices(text) == {frozenset({text.strip()})}


def test_an_expression_that_grows_without_bound_is_one_name() -> None:
    text = " AND ".join(f"(A{number} OR B{number})" for number in range(40))
    assert choices(text) == {frozenset({text})}
