"""From a request to a job: whose cache, which secrets, what is masked."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from pipeline.build_inputs import BuildInputs, cache_of
from pipeline.builders import BuildFailed, BuildJob
from pipeline.events import BuildRequested
from pipeline.registries import Registries
from pipeline.registry_accounts import Accounts
from pipeline.registry_login import Credentials
from pipeline.servicefile import Build, ServiceSpec

SPEC = ServiceSpec(name="web", build=Build(secrets=("NPM",)))


def request(*, trust: str = "main", spec: ServiceSpec = SPEC) -> BuildRequested:
    return BuildRequested(
        id="r-1/web", run="r-1", project="shop", service="web", repository="github:1", source_url="", ref="", sha="",
        tree="", build_key="", spec=msgspec.Raw(msgspec.json.encode(spec)), commit_time=7, source="",
        dockerfile="Dockerfile", trust=trust,
    )  # fmt: skip


@pytest.fixture
def inputs(tmp_path: Path) -> BuildInputs:
    folder = tmp_path / "shop/web"
    folder.mkdir(parents=True)
    (folder / "NPM").write_text("npm-token-value\n")
    (folder / "OTHER").write_text("another-value")
    (tmp_path / "Dockerfile").write_text("FROM private.example/base:1\n")
    own = {"r:5000": Credentials("u", "registry-password"), "private.example": Credentials("me", "base-password")}
    return BuildInputs(tmp_path, Registries(Accounts(own), frozenset({"r:5000"})), registry_cache=True)


def job_of(inputs: BuildInputs, folder: Path, event: BuildRequested) -> BuildJob:
    return asyncio.run(inputs.job(event, folder, "r:5000", folder / "login/config.json"))


def test_a_fork_reads_mains_cache_and_writes_its_own() -> None:
    main, fork = cache_of("r/shop/web", "github:1", "main"), cache_of("r/shop/web", "github:1", "fork-7")

    assert main.reads == (main.writes,)
    assert fork.reads == (fork.writes, main.writes)
    assert fork.writes != main.writes


def test_another_repositorys_cache_is_never_read() -> None:
    one, other = cache_of("r/shop/web", "github:1", "main"), cache_of("r/shop/web", "github:2", "main")

    assert not {*one.reads, one.writes} & {*other.reads, other.writes}


def test_a_named_secret_is_given_as_a_file(inputs: BuildInputs, tmp_path: Path) -> None:
    assert job_of(inputs, tmp_path, request()).secrets == {"NPM": tmp_path / "shop/web/NPM"}


def test_every_secret_of_the_service_and_the_accounts_are_masked(inputs: BuildInputs, tmp_path: Path) -> None:
    masker = job_of(inputs, tmp_path, request()).masker

    said = b"npm-token-value another-value registry-password base-password"
    assert masker.mask(said) == b"[secret] [secret] [secret] [secret]"


def test_a_fork_gets_no_secret(inputs: BuildInputs, tmp_path: Path) -> None:
    with pytest.raises(BuildFailed) as caught:
        job_of(inputs, tmp_path, request(trust="fork-7"))

    assert caught.value.reason == "build_secrets_refused"


def test_a_secret_that_is_not_there_is_named(inputs: BuildInputs, tmp_path: Path) -> None:
    spec = ServiceSpec(name="web", build=Build(secrets=("NPM", "GEM")))

    with pytest.raises(BuildFailed, match="no build secret GEM") as caught:
        job_of(inputs, tmp_path, request(spec=spec))

    assert caught.value.reason == "build_secret_missing"


def test_the_accounts_of_the_registries_in_question_are_written_for_the_owner_alone(
    inputs: BuildInputs, tmp_path: Path
) -> None:
    file = job_of(inputs, tmp_path, request()).authfile

    assert file is not None
    assert file.stat().st_mode & 0o777 == 0o600
    assert msgspec.json.decode(file.read_bytes())["auths"] == {
        "r:5000": {"auth": "dTpyZWdpc3RyeS1wYXNzd29yZA=="},
        "private.example": {"auth": "bWU6YmFzZS1wYXNzd29yZA=="},
    }


def test_a_fork_is_given_the_account_that_it_pushes_with_and_no_other(inputs: BuildInputs, tmp_path: Path) -> None:
    file = job_of(inputs, tmp_path, request(trust="fork-7", spec=ServiceSpec(name="web"))).authfile

    assert file is not None
    assert list(msgspec.json.decode(file.read_bytes())["auths"]) == ["r:5000"]


def test_a_registry_without_an_account_is_a_strangers(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")

    job = job_of(BuildInputs(tmp_path), tmp_path, request(spec=ServiceSpec(name="web")))

    assert (job.authfile, job.plain_http) == (None, False)
