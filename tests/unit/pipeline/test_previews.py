"""How previews are called, and how long they live."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.names import NAME
from pipeline.preview_life import Limits, due, evicted, full, later, verdict
from pipeline.previews import Preview, PreviewRef, PreviewService, environment_of, inventory, labelled, repository_of
from pipeline.records import Repository
from pipeline.stages.preview import Wanted, named

AT = "2026-01-01T00:00:00.000Z"


def preview(number: int = 1, project: str = "shop", **more: object) -> Preview:
    fields: dict[str, object] = {"state": "ready", "active_at": AT, "idle": 10_000.0, **more}
    return Preview(
        id=f"{project}.preview-{number}", project=project, repository=f"github:{project}", number=number,
        environment=f"preview-{number}", **fields,  # type: ignore[arg-type]
    )  # fmt: skip


def wanted(number: int, branch: str = "", project: str = "shop") -> Wanted:
    known = Repository(id=f"github:{project}", project=project, name="shop", forge="github", url="https://x.test/x")
    return Wanted(known, known.id, number, branch, "1" * 40)


@given(st.text(min_size=1, max_size=80))
def test_any_branch_makes_a_label_and_an_environment(branch: str) -> None:
    assert NAME.fullmatch(environment_of(0, branch))
    host = PreviewRef(environment="e", label=labelled(0, branch), domain="d").host("w" * 40)
    assert len(host.partition(".")[0]) <= 63


def test_all_that_is_made_for_one_is_listed_until_it_is_removed() -> None:
    services = (PreviewService(name="web", host="pr-1-web.p.test"), PreviewService(name="auth", copied=True))
    made = inventory(preview(services=services))

    assert {"git: shop/preview-1/web", "cluster: auth", "name: pr-1-web.p.test"} <= set(made)
    assert [one for one in made if one.startswith("images")] == ["images: shop/web/previews/preview-1"]
    assert inventory(preview(services=services, state="removed")) == ()


def test_branches_that_look_alike_are_called_otherwise() -> None:
    names = {labelled(0, branch) for branch in ("a/b", "a-b", "A/B", "a_b", "12", "pr-12")} | {labelled(12, "")}

    assert len(names) == 7


def test_two_projects_with_the_same_number_have_two_addresses() -> None:
    first = preview(ref=named(wanted(1), "d", ()))
    second = named(wanted(1, project="blog"), "d", [first])

    assert first.ref is not None
    assert first.ref.host("web") == "pr-1-web.d"
    assert second.host("web") != first.ref.host("web")


def test_rule_13_images_of_previews_have_a_path_of_their_own() -> None:
    assert repository_of("shop", "web") == "shop/web"
    assert repository_of("shop", "web", "preview-12") == "shop/web/previews/preview-12"


@pytest.mark.parametrize(
    ("seconds", "state", "said"),
    [(10, "ready", ""), (4_000, "ready", "asleep"), (4_000, "building", ""), (9_200, "ready", "warned"),
     (10_001, "ready", "expired"), (10_001, "removing", "")],
)  # fmt: skip
def test_rule_20_what_time_asks_for(seconds: float, state: str, said: str) -> None:
    limits = Limits(idle=10_000, sleep=3_600)
    one = later(preview(state=state), limits)

    assert verdict(one, due(AT, seconds), limits) == said


def test_rule_20_caps_count_what_takes_a_place() -> None:
    limits = Limits(cap=2, cap_all=3)
    others = [preview(2), preview(3, state="removed"), preview(4, state="waiting"), preview(5, "blog")]

    assert not full(preview(1), others, limits, 0)
    assert full(preview(1), others, limits, 1)
    assert full(preview(1), [*others, preview(6)], limits, 0)
    assert full(preview(1, "wiki"), [preview(6), *others], limits, 0)


def test_rule_20_only_one_that_nobody_used_for_a_day_makes_room() -> None:
    assert evicted([preview(1), preview(2, active_at=due(AT, 60))], due(AT, 86_401)) == preview(1)
    assert evicted([preview(1)], due(AT, 3_600)) is None
    assert evicted([preview(1, pinned_until=due(AT, 1e6))], due(AT, 90_000)) is None
