"""What a body may ask for: what the API fills in itself is refused, and a commit is deployed only where one may."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from console import actions
from console.projection import Projection
from pipeline.access import Principal
from pipeline.errors import Denied, Invalid
from pipeline.events import DeployRequested
from pipeline.records import Environment, Project
from tests.integration import console_records as data

SAM = Principal(name="sam")
DEE = Principal(name="dee")


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Projection]:
    projection = Projection(tmp_path / "p.sqlite")
    both = {"staging": ("sam", "dee"), "production": ("dee",)}
    environments = tuple(
        Environment(name=name, branch="main", roles={"deployer": people}) for name, people in both.items()
    )
    project = Project(slug="shop", environments=environments, repositories=("local:shop/shop",))
    records = [project, data.release(1, data.IMAGE1, data.SHA1, data.AT1)]
    projection.apply(
        [SimpleNamespace(subject=one.subject, data=one.encode(), seq=n) for n, one in enumerate(records, 1)]
    )  # type: ignore[misc]
    yield projection
    projection.close()


def wish(sha: str, *, fresh: bool = False) -> DeployRequested:
    return DeployRequested(id="c-1", project="shop", environment="staging", service="web", sha=sha, fresh=fresh)


@pytest.mark.parametrize("field", ["repository", "ref", "actor", "id"])
def test_a_body_does_not_say_where_a_commit_comes_from(field: str) -> None:
    body = {"project": "shop", "environment": "staging", "sha": data.SHA2, field: "local:other/other"}

    with pytest.raises(Invalid, match=f"unknown field '{field}'"):
        actions.read_command(DeployRequested, body, id="c-1", actor="sam")


@pytest.mark.parametrize("asked", [wish(data.SHA2), wish(data.SHA1, fresh=True)])
def test_a_deploy_from_source_needs_a_deployer_of_all_that_the_branch_feeds(
    db: Projection, asked: DeployRequested
) -> None:
    with pytest.raises(Denied, match="deployer in shop/production"):
        actions.resolved(db, asked, SAM)

    found = actions.resolved(db, asked, DEE)
    assert (found.repository, found.ref) == ("local:shop/shop", "refs/heads/main")


def test_a_commit_with_a_release_is_deployed_in_one_environment_alone(db: Projection) -> None:
    found = actions.resolved(db, wish(data.SHA1), SAM)

    assert found == msgspec.structs.replace(wish(data.SHA1), release="shop.web.v1")


@pytest.mark.parametrize(
    ("sha", "said"),
    [
        ("", "which commit or release"),
        ("main", "neither a commit's id nor a release"),
        ("deadbeef", "git rev-parse deadbeef"),
    ],
)
def test_a_commit_that_cannot_be_meant_is_told_with_the_way_on(db: Projection, sha: str, said: str) -> None:
    asked = DeployRequested(id="c-1", project="shop", environment="production", sha=sha)

    with pytest.raises(Invalid, match=said):
        actions.check(db, asked)
