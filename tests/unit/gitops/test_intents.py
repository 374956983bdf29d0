"""Intents as drafts of commits."""

from __future__ import annotations

import re
from email.utils import parseaddr

import pytest
from msgspec.structs import replace

from gitops import projectfile, trailers
from gitops.committing import intents
from gitops.committing.intents import Cause, Situation
from gitops.hold import Hold, parse
from pipeline.errors import Refused
from pipeline.events import LinkRequested
from pipeline.servicefile import ServiceSpec
from tests.support.rendered import WEB, release
from tests.unit.gitops.test_history import deployment, target

CAUSE = Cause("c-1", "rollback", "operator", "2026-01-01T00:00:00Z", why="errors")
RENDERED = frozenset({"deployment.yaml", "service.yaml"})
LINK = LinkRequested(
    id="l-1", project="shop", repository="local:shop/shop", name="shop", forge="local", url="http://git.example/x",
    actor="deployer",
)  # fmt: skip


def test_a_deployment_removes_what_it_no_longer_renders_and_the_hold() -> None:
    here = Situation(WEB, target(1), RENDERED | {"notes.txt"}, RENDERED, Hold())
    draft = intents.deploy(here, release(ServiceSpec(name="web")), cause=CAUSE, clearance=None)
    assert set(draft.edit.write) == {"deployment.yaml", "networkpolicy.yaml", "serviceaccount.yaml"}
    assert draft.edit.remove == {"service.yaml", "hold.yaml"}


def test_a_deployment_names_the_applications_commit_as_argo_cd_reads_it() -> None:
    brought = replace(release(ServiceSpec(name="web")), actor="Åsa <x>", subject_line="Say two")
    draft = intents.deploy(Situation(WEB), brought, cause=CAUSE, clearance=None)
    said = dict(re.findall(r"^Argocd-reference-commit-(\w+): (.+)$", draft.message, re.MULTILINE))
    assert (said["sha"], said["subject"], said["repourl"]) == (brought.sha, "Say two", brought.source_url)
    assert parseaddr(said["author"])[1] == "-sa-x@users.enclii.invalid".lstrip("-")


def test_a_persons_file_is_not_written_over() -> None:
    here = Situation(WEB, target(1), RENDERED, frozenset())
    with pytest.raises(Refused, match=r"deployment\.yaml"):
        intents.deploy(here, release(ServiceSpec(name="web")), cause=CAUSE, clearance=None)


def test_a_rollback_names_what_it_undoes_and_holds_with_the_reason() -> None:
    here = Situation(WEB, target(2), RENDERED, RENDERED)
    draft = intents.roll_back(here, deployment(1), tree="tree-1", undone=[deployment(2)], cause=CAUSE, hold=True)
    said = trailers.parse(draft.message)
    assert draft.message.startswith("Revert shop/web in production to v1\n\nerrors\n")
    assert (said["Reverts"], said["Intent"], said["Image"]) == ("commit-2", "c-1", "image-1")
    assert parse(draft.edit.write["hold.yaml"]) == Hold("operator", CAUSE.at, "errors", "shop.web.v2")


def test_a_second_rollback_keeps_the_first_holds_words() -> None:
    first = Hold("deployer", "then", "first", "shop.web.v3")
    here = Situation(WEB, target(2), RENDERED, RENDERED, first)
    draft = intents.roll_back(here, deployment(1), tree="tree-1", undone=[], cause=CAUSE, hold=True)
    assert parse(draft.edit.write["hold.yaml"]) == first


def test_a_rollback_without_a_hold_leaves_no_old_hold_behind() -> None:
    here = Situation(WEB, target(2), RENDERED, RENDERED)
    draft = intents.roll_back(here, deployment(1), tree="tree-1", undone=[], cause=CAUSE, hold=False)
    assert "hold.yaml" in draft.edit.remove


def test_a_person_who_saw_an_older_deployment_is_refused() -> None:
    with pytest.raises(Refused):
        Situation(WEB, target(2)).expect("d-1")


def test_a_first_link_feeds_production_from_main() -> None:
    written = projectfile.parse(projectfile.linked(None, LINK), project="shop")
    assert [(one.name, one.branch, one.protected) for one in written.environments] == [("production", "main", False)]
    assert [one.id for one in written.repositories] == ["local:shop/shop"]


def test_a_second_link_of_the_same_keeps_every_byte() -> None:
    data = b"# ours\n" + projectfile.linked(None, LINK)
    assert projectfile.linked(data, LINK) == data


def test_a_link_keeps_what_people_wrote() -> None:
    data = b"# ours\nenvironments:\n  live: {branch: trunk}  # mind\n"
    written = projectfile.linked(data, LINK)
    assert b"# ours" in written
    assert b"# mind" in written
    assert [one.name for one in projectfile.parse(written, project="shop").environments] == ["live"]
