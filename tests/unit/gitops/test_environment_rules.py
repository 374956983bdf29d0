"""The rules of an environment in project.yaml: what is read, and what is refused by name."""

from __future__ import annotations

import pytest

from gitops.projectfile import parse
from pipeline.errors import Invalid
from pipeline.promotions import AutomaticRollback, PromotionRule

FILE = b"""\
repositories: []
roles:
  keepers: [ada, bob]
environments:
  staging: {branch: main}
  production:
    protected: true
    promotion: {from: staging, soak: 10m, approvals: 2, approvers: [keepers], by: pull-request, checks: [e2e]}
    freeze:
      - {from: fri 16:00, until: mon 08:00, zone: Europe/Berlin, reason: weekend}
      - {from: 2026-12-20, until: 2027-01-04}
    rollback: {automatic: true, within: 10m}
"""


def test_the_rules_are_read_as_they_stand() -> None:
    found = parse(FILE, project="shop")

    production = found.environment("production")
    assert production is not None
    assert production.promotion == PromotionRule(
        source="staging", soak=600.0, approvals=2, approvers=("keepers",), by="pull-request", checks=("e2e",)
    )
    assert [(one.start, one.end, one.zone) for one in production.freeze] == [
        ("fri 16:00", "mon 08:00", "Europe/Berlin"), ("2026-12-20", "2027-01-04", "UTC"),
    ]  # fmt: skip
    assert production.rollback == AutomaticRollback(within=600.0)
    assert found.roles == {"keepers": ("ada", "bob")}


def test_an_environment_without_a_branch_is_fed_by_no_push() -> None:
    found = parse(FILE, project="shop")

    assert [one.name for one in found.fed_by("main")] == ["staging"]
    assert found.fed_by("") == ()


def test_a_rollback_that_is_not_automatic_is_none() -> None:
    found = parse(b"environments: {a: {branch: main, rollback: {within: 5m}}}", project="shop")

    assert found.environments[0].rollback is None


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("{}", "environments.a needs a branch, or promotion with from"),
        ("{branch: ''}", "is not a ref"),
        ("{promotion: {from: nowhere}}", "environments.a.promotion.from must name another environment"),
        ("{promotion: {from: a}}", "environments.a.promotion.from must name another environment"),
        ("{branch: m, promotion: {soak: soon}}", "environments.a.promotion.soak must be a duration"),
        ("{branch: m, promotion: {approvals: -1}}", "environments.a.promotion.approvals"),
        ("{branch: m, promotion: {approvals: true}}", "environments.a.promotion.approvals"),
        ("{branch: m, promotion: {approvers: ada}}", "environments.a.promotion.approvers must be a list"),
        ("{branch: m, promotion: {by: mail}}", "environments.a.promotion.by must be commit or pull-request"),
        ("{branch: m, promotion: {gates: []}}", "environments.a.promotion has an unknown key 'gates'"),
        ("{branch: m, freeze: weekends}", "environments.a.freeze must be a list"),
        ("{branch: m, rollback: {automatic: 'yes'}}", "environments.a.rollback.automatic must be true or false"),
    ],
)
def test_a_wrong_rule_is_refused_by_name(rules: str, said: str) -> None:
    with pytest.raises(Invalid) as error:
        parse(f"environments: {{a: {rules}}}".encode(), project="shop")
    assert said in error.value.message


def test_a_role_is_a_list_of_people() -> None:
    with pytest.raises(Invalid, match=r"roles\.keepers must be a list"):
        parse(b"roles: {keepers: ada}", project="shop")
