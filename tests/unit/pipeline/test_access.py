"""Roles as a pure function: who is named nowhere may nothing."""

from __future__ import annotations

import pytest

from pipeline.access import ROLES, Grant, Principal, Role, entry_problem, may, role_in, seen_environments
from pipeline.records import Environment, Project

SHOP = Project(
    slug="shop",
    roles={"viewer": ("group:everyone",), "admin": ("ada",), "keepers": ("eve",)},
    environments=(
        Environment(name="staging", branch="next", roles={"deployer": ("group:devs", "github:lin")}),
        Environment(name="production", branch="main", roles={"deployer": ("group:ops",)}),
    ),
)
DEV = Principal(name="bo", groups=("devs", "everyone"))


@pytest.mark.parametrize(
    ("who", "environment", "role"),
    [
        (DEV, "staging", "deployer"),
        (DEV, "production", "viewer"),
        (DEV, "", "viewer"),
        (DEV, "no-such", "viewer"),
        (Principal(name="ada"), "production", "admin"),
        (Principal(name="lin-at-home", other_names=("github:lin",)), "staging", "deployer"),
        (Principal(name="eve"), "production", None),
        (Principal(name="devs"), "staging", None),
        (Principal(name="x", groups=("ada",)), "production", None),
        (Principal(name="ada", listed=False), "production", None),
        (Principal(name="ci", grants=(Grant(role="deployer", project="shop", environment="staging"),)), "staging",
         "deployer"),
        (Principal(name="ci", grants=(Grant(role="deployer", project="shop", environment="staging"),)), "", None),
        (Principal(name="ci", grants=(Grant(role="deployer", project="other"),)), "staging", None),
        (Principal(name="owner", grants=(Grant(role="admin"),)), "production", "admin"),
    ],
)  # fmt: skip
def test_the_highest_role_there_counts(who: Principal, environment: str, role: Role | None) -> None:
    assert role_in(who, SHOP, environment) == role


def test_a_role_brings_those_below_it_and_no_other() -> None:
    assert [may(DEV, role, SHOP, "staging") for role in ROLES] == [True, True, False]


def test_a_project_is_no_way_into_the_installation() -> None:
    assert not may(Principal(name="ada"), "viewer", None)
    assert not may(Principal(name="ci", grants=(Grant(role="admin", project="shop"),)), "viewer", None)
    assert may(Principal(name="owner", grants=(Grant(role="admin"),)), "admin", None)


def test_who_is_named_in_one_environment_sees_that_one_alone() -> None:
    assert seen_environments(Principal(name="x", groups=("ops",)), SHOP) == {"production"}
    assert seen_environments(DEV, SHOP) is None
    assert seen_environments(Principal(name="eve"), SHOP) == frozenset()


@pytest.mark.parametrize(("entry", "good"), [("ada@example.test", True), ("group:ops", False), ("", False),
                                              ("a\nb", False), (" ada", False)])  # fmt: skip
def test_nobody_can_be_called_like_a_group(entry: str, good: bool) -> None:
    assert (entry_problem(entry) == "") is good
