"""What an install needs, in which order it goes, and what doctor makes of a cluster's words."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from console import nats_config
from console.installing import applying, health, inspection, nats, presence, references
from console.installing.presence import Installation

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HERE = Installation("one", "1.0", "small", "one", presence.INSTALLED)


def workload(**spec: Any) -> dict[str, Any]:
    about = {"name": "web", "namespace": "one"}
    return {"kind": "Deployment", "metadata": about, "spec": {"replicas": 3, "template": {"spec": spec}}}


def test_what_pods_refer_to_is_needed_with_its_keys_and_what_is_brought_or_optional_is_not() -> None:
    items = [{"key": "b", "path": "b"}]
    pod = workload(
        volumes=[
            {"secret": {"secretName": "whole"}},
            {"secret": {"secretName": "maybe", "optional": True}},
            {"configMap": {"name": "brought"}},
            {"projected": {"sources": [{"secret": {"name": "part", "items": items}}]}},
        ],
        containers=[
            {
                "env": [{"valueFrom": {"secretKeyRef": {"name": "part", "key": "a"}}}, {"name": "x", "value": "y"}],
                "envFrom": [{"configMapRef": {"name": "settings"}}],
            }
        ],
    )
    brought = {"kind": "ConfigMap", "metadata": {"name": "brought", "namespace": "one"}}

    assert references.needed([pod, brought]) == [
        references.Reference("ConfigMap", "one", "settings"),
        references.Reference("Secret", "one", "part", ("a", "b")),
        references.Reference("Secret", "one", "whole"),
    ]


def test_an_object_that_is_not_there_is_told_by_name_and_one_without_a_key_by_the_key() -> None:
    wanted = [references.Reference("Secret", "one", name, ("a", "b")) for name in ("good", "part", "none")]
    there = {("Secret", "one", "good"): frozenset("abc"), ("Secret", "one", "part"): frozenset("a")}

    assert references.absent(wanted, there) == ["Secret one/part has no key b", "Secret one/none"]


def test_namespaces_and_the_mark_go_first_and_workloads_last() -> None:
    kinds = ("Deployment", "HorizontalPodAutoscaler", "Service", "Namespace", "StatefulSet")
    found = [{"kind": kind, "metadata": {"name": "web"}} for kind in kinds]
    mark = {"kind": "ConfigMap", "metadata": {"name": "enclii-installation"}}

    assert [[one["kind"] for one in wave] for _, wave in applying.waves([*found, mark])] == [
        ["Namespace", "ConfigMap"],
        ["Service"],
        ["Deployment", "HorizontalPodAutoscaler", "StatefulSet"],
    ]


def test_the_number_of_replicas_is_left_to_an_autoscaler_where_one_is_applied() -> None:
    spec = {"scaleTargetRef": {"kind": "Deployment", "name": "web"}}
    scaler = {"kind": "HorizontalPodAutoscaler", "metadata": {"name": "web", "namespace": "one"}, "spec": spec}

    assert "replicas" not in applying.unscaled([workload(), scaler])[0]["spec"]
    assert applying.unscaled([workload()])[0]["spec"]["replicas"] == 3


@pytest.mark.parametrize(("off", "level"), [(0, "ok"), (9, "ok"), (-11, "error"), (3600, "error")])
def test_a_clock_that_is_off_is_told(off: int, level: str) -> None:
    date = NOW.strftime("%a, %d %b %Y %H:%M:%S GMT")
    said = f'{{}}I0102 03:04:05.1 1 round_trippers.go:587]     Date: {date}\n "buildDate": "1970-01-01T00:00:00Z"'

    assert inspection.skew(said, now=NOW + timedelta(seconds=off)).level == level


def test_an_answer_without_a_date_proves_nothing_of_the_clock() -> None:
    assert inspection.skew("{}", now=NOW).level == "warning"


def test_the_rights_that_we_write_are_those_that_are_needed() -> None:
    assert inspection.configured(nats.text(3)) == []


def test_a_nats_user_with_a_right_too_few_one_too_many_or_none_at_all_is_told_by_name() -> None:
    given = json.dumps(nats_config.permissions("signer"))
    few = given.replace('"st.release.*", ', "")
    many = given.replace('"st.release.*"', '"st.release.*", "st.secret.*"')
    text = nats.text(1)

    assert [(one.level, one.message) for one in inspection.configured(text.replace(given, few))] == [
        ("error", "NATS user signer may not, though it must: publish st.release.*")
    ]
    assert [(one.level, one.message) for one in inspection.configured(text.replace(given, many))] == [
        ("warning", "NATS user signer may, though it need not: publish st.secret.*")
    ]
    assert [one.message for one in inspection.configured(text.replace('"signer"', '"stranger"'))] == [
        "NATS has no user signer",
        "NATS user stranger is nobody's",
    ]
    assert [one.level for one in inspection.configured(text.replace(given, "{,"))] == ["error"]


def test_two_installations_of_one_name_are_an_error_and_of_two_names_a_warning() -> None:
    same = Installation("two", "1.0", "small", "one", "")
    apart = Installation("three", "1.0", "ha", "three", "")

    assert [one.level for one in inspection.others([HERE, same, apart], "one")] == ["error", "warning"]
    assert inspection.others([HERE], "one") == []


def test_a_rollout_that_is_not_through_is_late_with_what_its_pod_says() -> None:
    labels = {"app": "web"}
    about = {"name": "web", "generation": 2}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}}
    counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 1)
    done = {"kind": "Deployment", "metadata": about, "spec": spec, "status": {"observedGeneration": 2, **counts}}
    waiting = {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "x" not found'}}
    state = {"containerStatuses": [{"name": "process", "state": waiting}]}
    pod = {"kind": "Pod", "metadata": {"name": "web-1", "labels": labels}, "status": state}

    assert health.unready([done], now=NOW) == []
    for unlike in ({"observedGeneration": 1}, {"readyReplicas": 0}, {"replicas": 2}):
        rolling = {**done, "status": {**done["status"], **unlike}}
        (late,) = health.unready([rolling, pod], now=NOW)
        assert late.why == 'config_missing: secret "x" not found'


def test_a_pod_that_was_evicted_is_told_of_only_where_nothing_newer_says_why() -> None:
    """The cluster keeps it beside the one that took its place."""
    labels = {"app": "web"}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}}
    workload = {"kind": "StatefulSet", "metadata": {"name": "web", "namespace": "builds"}, "spec": spec}
    message = "The node was low on resource: ephemeral-storage."
    gone = {"phase": "Failed", "reason": "Evicted", "message": message}
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "not found"}}
    now = {"phase": "Pending", "containerStatuses": [{"name": "process", "state": waiting}]}
    evicted, newer = (
        {"kind": "Pod", "metadata": {"name": "web-1", "labels": labels}, "status": status} for status in (gone, now)
    )

    (alone,) = health.unready([workload, evicted], now=NOW)
    (both,) = health.unready([workload, evicted, newer], now=NOW)

    assert alone.why == f"evicted: {message}"
    assert both.why == "image_missing: ErrImagePull: not found"
    assert (both.namespace, both.kind) == ("builds", "StatefulSet")


def test_what_is_missing_is_told_with_what_really_makes_it() -> None:
    lacking = (
        "Secret one/enclii-api-token",
        "Secret one/enclii-registry",
        "Secret one/theirs",
        "Secret one/x has no key b",
    )

    script, password, theirs, key = (references.remedy(one, "one") for one in lacking)

    assert script == "manifests/platform/make-secrets one"
    assert password.startswith("kubectl -n one create secret generic enclii-registry ")
    assert theirs == "yours to make"
    assert key.startswith("add the key")
