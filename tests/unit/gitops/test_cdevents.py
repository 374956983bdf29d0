"""CDEvents: which records tell which, held against the specification's own schemas, and what stays the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from msgspec.structs import replace

from gitops import projectfile
from gitops.forge import cdevents
from pipeline.records import Deployment, Record, Target
from pipeline.runs import Job, Run, Stage

SCHEMAS = json.loads((Path(__file__).parents[2] / "data/cdevents/schemas.json").read_text())
LINKS = jsonschema_rs.Registry([(one["$id"], one) for one in SCHEMAS["links"]])
CONSOLE = "https://enclii.example.org"
AT = 1_795_500_000.0
DIGEST = "sha256:" + "a" * 64
IMAGE = f"registry.example:5000/shop/web@{DIGEST}"
PURL = f"pkg:oci/web@sha256%3A{'a' * 64}?repository_url=registry.example%3A5000/shop/web"
RUN = Run(
    id="r-1", project="shop", repository="github:1", ref="refs/heads/main", sha="b" * 40, actor="ada",
    subject_line="Page", delivery="d", created_at="2026-11-24T04:00:00.000Z",
)  # fmt: skip
BUILT = Job(
    run="r-1", project="shop", service="web", status="signing", image=IMAGE,
    stages=(Stage(name="build", started_at="2026-11-24T04:00:01.000Z", finished_at="2026-11-24T04:00:09.000Z"),),
)  # fmt: skip
RAN = Deployment(
    id="d-1", project="shop", environment="production", service="web", release="shop.web.v2", image=IMAGE, sha="b" * 40,
    status="running", config_commit="c", run="r-1", running_at="2026-11-24T04:00:20.000Z",
)  # fmt: skip
GONE = Target(
    project="shop", environment="production", service="web", deployment="", release="", image="", sha="",
    config_commit="c",
)  # fmt: skip


def told(record: Record) -> dict[str, dict[str, Any]]:
    """What a record tells, by its type without what all have in common."""
    found = [dict(one.event or {}) for one in cdevents.of(record, AT, CONSOLE)]
    return {str(one["type"]).removeprefix("dev.cdevents.").removesuffix(".0.3.0"): one for one in found}


@pytest.mark.parametrize(
    ("record", "types"),
    [
        (RUN, ["pipelinerun.started"]),
        (replace(RUN, status="failed", message="no"), ["pipelinerun.started", "pipelinerun.finished"]),
        (replace(RUN, status="succeeded"), ["pipelinerun.started", "pipelinerun.finished"]),
        (replace(RUN, status="superseded"), ["pipelinerun.started", "pipelinerun.finished"]),
        (BUILT, ["build.started", "build.finished", "artifact.published"]),
        (
            replace(BUILT, image="", status="failed", reason="build_failed", finished_at="2026-11-24T04:00:09.000Z"),
            ["build.started", "build.finished"],
        ),
        (replace(BUILT, image="", stages=(replace(BUILT.stages[0], finished_at=""),)), ["build.started"]),
        (replace(BUILT, stages=(), reused=True), []),
        (RAN, ["service.deployed"]),
        (replace(RAN, via="rollback", run=""), ["service.rolledback"]),
        (replace(RAN, via="git", reverts="c0"), ["service.rolledback"]),
        (replace(RAN, running_at="", status="failed"), []),
        (GONE, ["service.removed"]),
        (replace(GONE, deployment="d-1"), []),
    ],
    ids=str,
)
def test_what_a_record_tells_is_what_the_specification_asks_for(record: Record, types: list[str]) -> None:
    found = told(record)

    assert list(found) == types
    for one in found.values():
        schema = SCHEMAS[one["type"]]
        check = jsonschema_rs.validator_for(schema, registry=LINKS, validate_formats=True)
        assert [str(error) for error in check.iter_errors(one["data"])] == []
        context, subject = one["data"]["context"], one["data"]["subject"]
        assert [one[key] for key in ("id", "source", "type", "time")] == [
            context[key] for key in ("id", "source", "type", "timestamp")
        ]
        assert one["subject"] == subject["id"]


def test_the_schemas_find_what_is_wrong() -> None:
    data = told(RAN)["service.deployed"]["data"]
    check = jsonschema_rs.validator_for(SCHEMAS[data["context"]["type"]], registry=LINKS, validate_formats=True)
    for wrong in (
        {**data, "subject": {"id": "x", "content": {}}},
        {**data, "context": {**data["context"], "timestamp": "yesterday"}},
        {**data, "context": {**data["context"], "links": [{"linkType": "PATH"}]}},
    ):
        assert not check.is_valid(wrong)


def test_all_that_comes_of_a_push_is_one_chain_and_links_to_what_it_came_from() -> None:
    events = {**told(RUN), **told(BUILT), **told(RAN)}
    contexts = {name: one["data"]["context"] for name, one in events.items()}

    assert len({one["chainId"] for one in contexts.values()}) == 1
    cause = {one["id"]: name for name, one in contexts.items()}
    came = {name: cause[one["links"][0]["from"]["contextId"]] for name, one in contexts.items() if "links" in one}
    assert came == {
        "build.started": "pipelinerun.started", "build.finished": "build.started",
        "artifact.published": "build.finished", "service.deployed": "pipelinerun.started",
    }  # fmt: skip


def test_an_image_is_told_by_its_package_url() -> None:
    assert told(RAN)["service.deployed"]["data"]["subject"]["content"]["artifactId"] == PURL
    assert cdevents.purl("web:latest") == ""


def test_a_record_that_is_written_again_tells_the_same_events() -> None:
    later = replace(RAN, status="degraded", message="again")
    first, second = ([one.id for one in cdevents.of(record, AT, CONSOLE)] for record in (RAN, later))
    assert first == second
    assert told(RAN)["service.deployed"]["id"] == told(later)["service.deployed"]["id"]


def test_nobody_is_told_unless_the_project_says_so() -> None:
    assert projectfile.parse(b"{}", project="shop").notifications == {}
    said = projectfile.parse(b"notifications: {lake: [cdevents]}", project="shop")
    assert said.notifications == {"lake": ("cdevents",)}


def test_no_event_tells_who_it_was() -> None:
    assert "ada" not in json.dumps([told(replace(RUN, status="succeeded")), told(replace(RAN, actor="ada"))])
