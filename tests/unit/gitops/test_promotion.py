"""What lets a promotion wait, what refuses it, and what replaces it."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gitops.rules import promotion
from gitops.rules.freeze import Frozen
from gitops.rules.promotion import Facts, Source, Standing
from pipeline.errors import Refused
from pipeline.promotions import Approval, CheckState, Member, Promotion, PromotionRule
from pipeline.records import Environment

NOW = datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.UTC)
WEB = Member(service="web", release="shop.web.v7", image="r/web@sha256:7", sha="7" * 40)
API = Member(service="api", release="shop.api.v3", image="r/api@sha256:3", sha="3" * 40)


def asked(*members: Member, **more: object) -> Promotion:
    fields = {"source": "staging", "actor": "ada", "status": "waiting", **more}
    return Promotion(
        id="p-1", command="c-1", project="shop", environment="production", members=members or (WEB,), **fields
    )  # type: ignore[arg-type]


def ago(seconds: float) -> datetime.datetime:
    return NOW - datetime.timedelta(seconds=seconds)


def facts(
    *, healthy: float | None = 3600, there: bool = True, failed: bool = False, frozen: Frozen | None = None,
    checks: dict[tuple[str, str], CheckState] | None = None, roles: dict[str, list[str]] | None = None,
    seen: float | None = 0,
) -> Facts:  # fmt: skip
    source = Source(
        there, failed, ago(healthy) if healthy is not None else None, ago(seen) if seen is not None else None
    )
    return Facts(NOW, {"web": source, "api": source}, checks or {}, frozen, roles or {})


def standing(rule: PromotionRule, known: Facts, one: Promotion | None = None, *, protected: bool = False) -> Standing:
    environment = Environment(name="production", branch="", promotion=rule, protected=protected)
    return promotion.standing(one or asked(), environment, known)


def test_a_release_that_is_healthy_in_its_source_needs_nothing_more_without_rules() -> None:
    found = standing(PromotionRule(), facts())

    assert (found.waits, found.members[0].soaked_at) == ((), "2026-11-23T12:00:00.000Z")


def test_a_release_soaks_until_it_was_healthy_for_long_enough() -> None:
    found = standing(PromotionRule(soak=600), facts(healthy=400))

    assert (found.reason, found.wake_at) == ("soaking", "2026-11-23T12:03:20.000Z")
    assert not standing(PromotionRule(soak=600), facts(healthy=600)).waits


@pytest.mark.parametrize("seen", [None, 61])
def test_what_nobody_observes_is_not_called_healthy_and_is_looked_at_again(seen: float | None) -> None:
    found = standing(PromotionRule(soak=600), facts(healthy=900, seen=seen))

    assert (found.reason, found.wake_at) == ("not_observed", "2026-11-23T12:00:10.000Z")
    assert "is the syncer running?" in found.message


def test_without_a_soak_it_is_enough_to_be_healthy_now() -> None:
    assert not standing(PromotionRule(), facts(healthy=1, seen=9)).waits


def test_a_soak_counts_to_the_last_look_and_not_to_the_clock() -> None:
    found = standing(PromotionRule(soak=600), facts(healthy=605, seen=10))

    assert (found.reason, found.wake_at) == ("soaking", "2026-11-23T12:00:10.000Z")


def test_a_release_that_is_not_healthy_waits_without_a_clock() -> None:
    found = standing(PromotionRule(soak=600), facts(healthy=None))

    assert (found.reason, found.wake_at) == ("not_healthy", "")


def test_what_was_replaced_before_its_time_is_refused_and_after_it_is_not() -> None:
    soaked = asked(replace(WEB, soaked_at="2026-11-23T11:00:00.000Z"))

    with pytest.raises(Refused) as error:
        standing(PromotionRule(soak=600), facts(there=False))
    assert error.value.reason == "left_source"
    assert not standing(PromotionRule(soak=600), facts(there=False), soaked).waits


def test_what_soaked_and_then_broke_waits_until_it_is_well() -> None:
    soaked = asked(replace(WEB, soaked_at="2026-11-23T11:00:00.000Z"))

    assert standing(PromotionRule(soak=600), facts(healthy=None), soaked).reason == "not_healthy"
    assert not standing(PromotionRule(soak=600), facts(healthy=1), soaked).waits


def test_what_failed_in_its_source_is_refused() -> None:
    with pytest.raises(Refused) as error:
        standing(PromotionRule(), facts(failed=True))
    assert error.value.reason == "unhealthy_in_source"


def test_an_environment_is_entered_from_the_one_that_it_names() -> None:
    with pytest.raises(Refused) as error:
        standing(PromotionRule(source="qa"), facts())
    assert error.value.reason == "wrong_source"


def test_the_asker_and_strangers_do_not_count_as_approvers() -> None:
    rule = PromotionRule(approvals=2, approvers=("keepers", "eve"))
    yes = tuple(Approval(by=one, at="") for one in ("ada", "bob", "mallory"))
    known = facts(roles={"keepers": ["ada", "bob"]})

    found = standing(rule, known, asked(approvals=yes))

    assert (found.reason, found.message) == (
        "needs_approval", "1 approval of keepers, eve missing: enclii approve p-1",
    )  # fmt: skip
    assert not standing(rule, known, asked(approvals=(*yes, Approval(by="eve", at="")))).waits


def test_one_person_counts_once() -> None:
    twice = (Approval(by="bob", at="1"), Approval(by="bob", at="2"))

    assert standing(PromotionRule(approvals=2), facts(), asked(approvals=twice)).reason == "needs_approval"


ADA = (Approval(by="ada", at="1"),)
"""The word of whoever asked."""


def test_a_proposal_needs_one_word_and_is_shown_before_it() -> None:
    found = standing(PromotionRule(), facts(), protected=True)

    assert (found.reason, found.proposable) == ("needs_approval", True)
    assert not standing(PromotionRule(by="commit"), facts(), protected=True).waits
    assert not standing(PromotionRule(), facts(), asked(approvals=ADA), protected=True).waits
    assert standing(PromotionRule(approvals=1), facts(), asked(approvals=ADA), protected=True).waits
    assert not standing(PromotionRule(soak=9e9), facts(), protected=True).proposable


@pytest.mark.parametrize(("rule", "by", "reason"), [
    (PromotionRule(approvals=1), "ada", "own_promotion"),
    (PromotionRule(approvals=1, approvers=("eve",)), "bob", "not_an_approver"),
])  # fmt: skip
def test_who_may_not_approve_is_told_why(rule: PromotionRule, by: str, reason: str) -> None:
    with pytest.raises(Refused) as error:
        promotion.approved(asked(), rule, {}, by=by)
    assert error.value.reason == reason


def test_a_push_that_waits_for_a_thaw_needs_no_approval() -> None:
    with pytest.raises(Refused) as error:
        promotion.approved(asked(source=""), None, {}, by="bob")
    assert error.value.reason == "nothing_to_approve"


def test_a_check_is_waited_for_and_a_failed_one_refuses() -> None:
    rule = PromotionRule(checks=("e2e",))

    assert standing(rule, facts()).reason == "check_missing"
    assert standing(rule, facts(checks={(WEB.sha, "e2e"): "pending"})).message.endswith("has not ended on 777777777777")
    assert not standing(rule, facts(checks={(WEB.sha, "e2e"): "success"})).waits
    with pytest.raises(Refused) as error:
        standing(rule, facts(checks={(WEB.sha, "e2e"): "failure"}))
    assert error.value.reason == "check_failed"


def test_a_freeze_stops_all_but_what_overrides_it() -> None:
    frozen = Frozen("holidays", NOW + datetime.timedelta(days=1))

    found = standing(PromotionRule(), facts(frozen=frozen))

    assert (found.reason, found.wake_at) == ("frozen", "2026-11-24T12:00:00.000Z")
    assert not standing(PromotionRule(), facts(frozen=frozen), asked(override="the shop is down")).waits


def test_it_is_looked_at_again_when_the_last_clock_has_run_out() -> None:
    frozen = Frozen("", NOW + datetime.timedelta(seconds=50))

    found = standing(PromotionRule(soak=600), facts(healthy=500, frozen=frozen))

    assert [wait.reason for wait in found.waits] == ["soaking", "frozen"]
    assert found.wake_at == "2026-11-23T12:01:40.000Z"


def test_a_set_waits_for_its_last_member() -> None:
    known = Facts(NOW, {"web": Source(True, False, ago(9), NOW), "api": Source(True, False, None)}, {})

    assert standing(PromotionRule(), known, asked(WEB, API)).message == "api v3 is not healthy in staging"


def test_a_newer_promotion_of_a_shared_service_takes_the_olders_place() -> None:
    older = asked(WEB, API)

    assert promotion.superseded(older, replace(asked(API), id="p-2"))
    assert not promotion.superseded(older, older)
    assert not promotion.superseded(asked(WEB), replace(asked(API), id="p-2"))
    assert not promotion.superseded(older, replace(older, id="p-2", environment="qa"))


@given(st.permutations(["web", "api", "worker"]))
def test_a_proposals_branch_is_named_by_its_services_in_any_order(services: list[str]) -> None:
    expected = promotion.branch_name("shop", "production", ["api", "web", "worker"])

    assert promotion.branch_name("shop", "production", services) == expected
    assert promotion.branch_name("shop", "qa", services) != expected
