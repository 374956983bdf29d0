"""Names that come from outside, whatever they hold, never become a path, an argument or a subject unchecked."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path, PurePosixPath

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from console import forges
from gitops import layout
from ingest.githost_hooks import updates
from ingest.gitrepos import CONFIG_PROJECT, Repositories, RepositoryName, requested
from pipeline import names
from pipeline.errors import Invalid
from pipeline.events import Delivery, DeployRequested
from pipeline.log_stream import subject as log_subject
from pipeline.mirror import Mirror
from pipeline.records import Branch, Decision, Release, Repository, Run, Target
from pipeline.servicefile import parse_servicefile
from tests.support.components import needs

SUBJECT = re.compile(r"[a-z]+(\.[a-z_]+)*\.[a-z2-7]{12,26}(\.[a-z2-7]{12,26}|\.[0-9]+)?")
CRAFTED = st.sampled_from([
    "", ".", "..", "../..", "a/../b", "/etc/passwd", "-x", "--upload-pack=x", "a.b", "a.>", "*", ">", "$(id)", "`id`",
    "a;b", "a|b", "a\nb", "a\x00b", "%2e%2e", "A", "é", "con fig", "enclii", "a" * 41, "a" * 5000, "refs/heads/..",
    "refs/heads/a.lock", "refs/heads/-x", "@{-1}", "~root", "\\\\host\\share",
])  # fmt: skip
NASTY = st.text(alphabet="ab1-._/\\%~$ \x00\n*>:@{}[]'\"^?\u202e", max_size=30)
ANY = CRAFTED | NASTY | st.text(max_size=60)
SETTLED = settings(suppress_health_check=list(HealthCheck))


@SETTLED
@given(ANY)
def test_a_name_is_one_plain_path_component_or_refused(text: str) -> None:
    try:
        name = names.name(text)
    except Invalid:
        return
    path = PurePosixPath("/root") / name
    assert (path.parent, path.name) == (PurePosixPath("/root"), text)
    assert set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert text[0].isalpha()


@SETTLED
@given(ANY, ANY)
@example("shop", "web")
def test_a_request_of_the_git_host_is_for_a_repository_below_its_root(project: str, name: str) -> None:
    found = requested(f"/{project}/{name}.git/info/refs".encode("utf-8", "surrogatepass"))

    if found is not None:
        folder = Repositories(Path("/root")).path(found[0])
        assert folder == Path(f"/root/{project}/{name}.git")
        assert (len(folder.parts), ".." in folder.parts) == (4, False)


@SETTLED
@given(ANY, ANY)
def test_a_repository_s_name_is_checked_however_it_is_made(project: str, name: str) -> None:
    try:
        found = RepositoryName.of(project, name)
    except Invalid:
        return
    assert requested(f"/{found.project}/{found.name}.git/info/refs".encode()) == (found, "info/refs")
    assert found.project != CONFIG_PROJECT or found.is_config


@SETTLED
@given(ANY, ANY, ANY)
def test_a_place_of_the_config_repository_is_three_folders_deep(project: str, environment: str, service: str) -> None:
    try:
        place = layout.place(project, environment, service)
    except Invalid:
        return
    assert PurePosixPath(place.path).parts == (project, environment, service)
    assert layout.place_of(place.path) == place


@SETTLED
@given(st.lists(ANY.map(lambda text: f"refs/heads/{text}") | ANY, min_size=20, max_size=20))
def test_no_ref_is_taken_that_git_would_not_take(found: list[str]) -> None:
    taken = [ref for ref in found if _is_ref(ref)]
    for ref in taken:
        done = subprocess.run([needs("git"), "check-ref-format", ref], check=False)
        assert done.returncode == 0, ref
        assert ref.startswith("refs/")


def _is_ref(text: str) -> bool:
    try:
        return bool(names.ref(text))
    except Invalid:
        return False


@SETTLED
@given(ANY, ANY, ANY)
def test_what_a_hook_is_told_is_two_commits_and_a_ref_or_refused(before: str, after: str, ref: str) -> None:
    try:
        found = updates([f"{before} {after} {ref}"])
    except (Invalid, ValueError):
        return
    assert [bool(names.SHA.fullmatch(one)) for one in (found[0].before, found[0].after)] == [True, True]
    assert found[0].ref.startswith(("refs/heads/", "refs/tags/"))


@SETTLED
@given(ANY, ANY, ANY)
def test_nothing_of_a_name_is_seen_in_a_subject(one: str, two: str, three: str) -> None:
    subjects = [
        Delivery(id=one, forge="github", kind="push", repository=two, ref=three, actor=one).subject,
        DeployRequested(id=one, project=two, environment=three).subject,
        Branch.subject_of(one, two), Target.subject_of(one, two, three), Decision.subject_of(one),
        Repository.subject_of(one), Release.subject_of(one), Run.subject_of(one),
        log_subject(one, two),
    ]  # fmt: skip

    assert [subject for subject in subjects if not SUBJECT.fullmatch(subject)] == []


@SETTLED
@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_different_keys_have_different_subjects(one: str, two: str, three: str) -> None:
    assert (Branch.subject_of(one, two) == Branch.subject_of(one, three)) == (two == three)


@SETTLED
@given(ANY, ANY, ANY)
def test_a_service_file_leads_to_nowhere_outside_of_its_repository(name: str, path: str, dockerfile: str) -> None:
    text = json.dumps({"services": {name: {"path": path, "build": {"dockerfile": dockerfile}}}})
    try:
        found = parse_servicefile(text)
    except Invalid:
        return
    for spec in found.services:
        assert names.NAME.fullmatch(spec.name)
        for inside in (spec.path, spec.build.dockerfile or "."):
            pure = PurePosixPath(inside)
            assert not pure.is_absolute()
            assert ".." not in pure.parts
            assert not inside.startswith("-")
            assert inside.isprintable()


@SETTLED
@given(ANY, st.sampled_from(["https://", "ssh://git@", "http://", "file://", "ext::", "git@", "-u", ""]))
def test_an_address_that_is_linked_is_one_that_git_reads_as_an_address(rest: str, scheme: str) -> None:
    try:
        found = forges.address(scheme + rest)
    except Invalid:
        return
    assert found.url.startswith(("https://", "http://", "ssh://"))
    assert found.url.isascii()
    assert " " not in found.url
    assert not found.host.startswith("-")
    Mirror(Path("/nowhere"), found.url)  # raises Invalid for what git could misread


@SETTLED
@given(ANY)
def test_a_mirror_is_of_an_address_or_of_nothing(url: str) -> None:
    try:
        Mirror(Path("/nowhere"), url)
    except Invalid:
        return
    assert url.split(":", 1)[0] in ("https", "http", "ssh", "file")
