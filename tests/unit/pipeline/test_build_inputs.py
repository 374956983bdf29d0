"""From a request to a job: whose cache, which secrets, what is masked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from pipeline.build_inputs import BuildInputs, cache_of
from pipeline.builders import BuildFailed
from pipeline.events import BuildRequested
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
    return BuildInputs(
        tmp_path, plain_http=True, registry_cache=True, credentials=Credentials("u", "registry-password")
    )


def test_a_fork_reads_mains_cache_and_writes_its_own() -> None:
    main, fork = cache_of("r/shop/web", "github:1", "main"), cache_of("r/shop/web", "github:1", "fork-7")

    assert main.reads == (main.writes,)
    assert fork.reads == (fork.writes, main.writes)
    assert fork.writes != main.writes


def test_another_repositorys_cache_is_never_read() -> None:
    one, other = cache_of("r/shop/web", "github:1", "main"), cache_of("r/shop/web", "github:2", "main")

    assert not {*one.reads, one.writes} & {*other.reads, other.writes}


def test_a_named_secret_is_given_as_a_file(inputs: BuildInputs, tmp_path: Path) -> None:
    job = inputs.job(request(), tmp_path, "r")

    assert job.secrets == {"NPM": tmp_path / "shop/web/NPM"}


def test_every_secret_of_the_service_and_the_login_are_masked(inputs: BuildInputs, tmp_path: Path) -> None:
    masker = inputs.job(request(), tmp_path, "r").masker

    assert masker.mask(b"npm-token-value another-value registry-password") == b"[secret] [secret] [secret]"


def test_a_fork_gets_no_secret(inputs: BuildInputs, tmp_path: Path) -> None:
    with pytest.raises(BuildFailed) as caught:
        inputs.job(request(trust="fork-7"), tmp_path, "r")

    assert caught.value.reason == "build_secrets_refused"


def test_a_secret_that_is_not_there_is_named(inputs: BuildInputs, tmp_path: Path) -> None:
    spec = ServiceSpec(name="web", build=Build(secrets=("NPM", "GEM")))

    with pytest.raises(BuildFailed, match="no build secret GEM") as caught:
        inputs.job(request(spec=spec), tmp_path, "r")

    assert caught.value.reason == "build_secret_missing"


def test_the_login_is_written_for_the_owner_alone(inputs: BuildInputs, tmp_path: Path) -> None:
    file = tmp_path / "login/config.json"

    replace(inputs, authfile=file).write_login("r:5000")

    assert file.stat().st_mode & 0o777 == 0o600
    assert msgspec.json.decode(file.read_bytes())["auths"]["r:5000"]["auth"] == "dTpyZWdpc3RyeS1wYXNzd29yZA=="
