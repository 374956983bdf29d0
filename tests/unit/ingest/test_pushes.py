from __future__ import annotations

import re

import pytest

from ingest.pushes import delivery_of, first_branch
from pipeline import trace
from pipeline.records import Push

SHA, ZERO = "a" * 40, "0" * 40
INTENT = Push(
    repository="local:shop/web", ref="refs/heads/main", before=ZERO, after=SHA, actor="alex", delivery="local:1", at="t"
)


def test_a_delivery_has_its_intent_s_id_however_often_it_is_made() -> None:
    first, second = delivery_of(INTENT), delivery_of(INTENT)
    assert first.id == second.id == "local:1"
    assert first.subject == second.subject
    assert (first.repository, first.after, first.actor, first.at) == ("local:shop/web", SHA, "alex", "t")


@pytest.mark.parametrize(
    ("refs", "branch"),
    [
        ({"refs/heads/topic": SHA, "refs/heads/main": SHA}, "main"),
        ({"refs/heads/topic": SHA, "refs/heads/master": SHA}, "master"),
        ({"refs/tags/v1": SHA, "refs/heads/a/b": SHA}, "a/b"),
        ({"refs/tags/v1": SHA}, None),
        ({"refs/heads/main": ZERO}, None),
    ],
)
def test_production_is_fed_by_main_or_by_what_there_is(refs: dict[str, str], branch: str | None) -> None:
    assert first_branch(refs) == branch


def test_a_trace_is_a_traceparent() -> None:
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", trace.new())
