"""A set's commit says of each service what that service's own commit would say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gitops import trailers
from gitops.committing.edits import Commit, Draft, Edit
from gitops.committing.intents import Cause
from gitops.layout import Place
from gitops.rules.sets import expanded, joined, listed

CAUSE = Cause("c-1", "promotion", "ada", "2026-11-23T12:00:00.000Z", "tested", "00-trace")


def draft(place: Place, **said: str) -> Draft:
    own = {"Project": place.project, "Environment": place.environment, "Service": place.service, **said}
    message = trailers.render(f"Deploy {place.service}", {**own, "Via": "push", "Intent": "other"})
    return Draft(Edit(place.path, write={"deployment.yaml": b"x"}), message, "ada", CAUSE.at)


def read(one: Draft) -> list[tuple[Place, Commit]]:
    return expanded(Commit("c" * 40, (), one.author, "subject", one.at, trailers.parse(one.message)))


def test_a_set_is_read_back_as_a_commit_for_each_service() -> None:
    web, api = Place("shop", "production", "web"), Place("shop", "production", "api")
    drafts = {web: draft(web, Release="shop.web.v2", Image="r:5/web@sha256:2"), api: draft(api, Release="shop.api.v9")}

    one = joined(drafts, "Promote", CAUSE, {"Set": "p-1"})

    assert [edit.path for edit in (one.edit, *one.others)] == [web.path, api.path]
    (first, of_web), (second, of_api) = read(one)
    assert (first, second) == (web, api)
    assert of_web.trailers == {
        "Project": "shop", "Environment": "production", "Service": "web", "Release": "shop.web.v2",
        "Image": "r:5/web@sha256:2", "Set": "p-1", "Via": "promotion", "Intent": "c-1/web", "Trace": "00-trace",
    }  # fmt: skip
    assert (of_api.trailers["Release"], of_api.trailers["Intent"]) == ("shop.api.v9", "c-1/api")


def test_any_other_commit_stands_for_its_own_place_or_none() -> None:
    web = Place("shop", "production", "web")

    assert [place for place, _ in read(draft(web))] == [web]
    assert expanded(Commit("c" * 40, (), "ada", "s", CAUSE.at, {"Project": "shop", "Intent": "link-1"})) == []


@given(st.text(min_size=1, max_size=60))
def test_no_value_of_a_member_can_pose_as_another(value: str) -> None:
    web = Place("shop", "production", "web")
    said = trailers.one_line(value)

    one = joined({web: draft(web, Verdict=value)}, "Promote", CAUSE, {"Set": "p-1"})

    ((place, commit),) = read(one)
    assert place == web
    assert commit.trailers.get("Verdict", "") == said
    assert set(commit.trailers) - {"Verdict"} == {
        "Project", "Environment", "Service", "Set", "Via", "Intent", "Trace",
    }  # fmt: skip


def test_a_long_list_of_services_is_shortened() -> None:
    assert listed(["web", "api"]) == "api, web"
    assert listed(["d", "c", "b", "a"]) == "a, b and 2 more"
