"""An answer of the API server becomes one error, in the server's words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gitops.clusters.kube_errors import FieldConflict, Gone, refusal
from pipeline.errors import EncliiError, Invalid, Permanent, Refused, Unavailable


def answered(code: int, message: str, **details: Any) -> EncliiError:
    return refusal(code, json.dumps({"message": message, "details": details}).encode(), "apply Deployment web")


@pytest.mark.parametrize(
    ("code", "message", "kind", "reason"),
    [
        (401, "Unauthorized", Unavailable, "credentials_expired"),
        (403, 'pods is forbidden: User "me" cannot list', Refused, "not_allowed"),
        (403, 'pods "a" is forbidden: exceeded quota: none', Permanent, "quota"),
        (403, 'pods "a" is forbidden: violates PodSecurity', Refused, "admission_refused"),
        (400, 'admission webhook "x" denied the request: no', Refused, "admission_refused"),
        (400, 'admission webhook "x" denied the request: labels are immutable', Refused, "admission_refused"),
        (
            422,
            "ValidatingAdmissionPolicy 'a' with binding 'b' denied request: not on Fridays",
            Refused,
            "admission_refused",
        ),
        (500, "etcd is slow", Unavailable, "cluster_away"),
        (429, "too many requests", Unavailable, "cluster_away"),
        (410, "too old resource version", Gone, "version_gone"),
        (422, "spec.selector: Invalid value: field is immutable", Invalid, "immutable_field"),
    ],
)
def test_each_refusal_has_its_reason(code: int, message: str, kind: type[EncliiError], reason: str) -> None:
    error = answered(code, message)

    assert (type(error), error.reason) == (kind, reason)


def test_a_conflict_names_the_other_manager_and_the_field() -> None:
    cause = {"reason": "FieldManagerConflict", "message": 'conflict with "kubectl-edit" using apps/v1', "field": ".a"}
    error = answered(409, "Apply failed", causes=[cause])

    assert isinstance(error, FieldConflict)
    assert [(claim.manager, claim.field) for claim in error.claims] == [("kubectl-edit", ".a")]


def test_a_namespace_that_ends_is_worth_another_try() -> None:
    error = answered(403, "it is being terminated", causes=[{"reason": "NamespaceTerminating"}])

    assert (type(error), error.reason) == (Unavailable, "namespace_terminating")


def test_an_answer_that_is_no_json_is_told_as_it_is() -> None:
    assert "gateway" in refusal(400, b"<html>gateway</html>", "look").message
