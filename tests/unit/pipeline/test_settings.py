"""Settings: what is read for whom, how problems are told, and that a secret never shows."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import pytest

from pipeline.errors import Invalid
from pipeline.parsing import Secret
from pipeline.settings import MAY_LOSE, PROCESSES, Settings, granted, table

DOCUMENT = Path(__file__).parents[3] / "docs" / "configuration.md"


def _problems(environ: Mapping[str, str], process: str) -> list[str]:
    with pytest.raises(Invalid) as refused:
        Settings.from_env(environ, process=process)
    assert refused.value.reason == "bad_settings"
    return refused.value.message.splitlines()


def _toml(tmp_path: Path, text: str) -> dict[str, str]:
    file = tmp_path / "enclii.toml"
    file.write_text(text)
    return {"ENCLII_CONFIG": str(file)}


def test_nothing_said_is_enough_for_a_process_that_needs_no_secret() -> None:
    settings = Settings.from_env({}, process="door")

    assert settings.home == Path(".enclii")
    assert settings.durability == "fsync"


def test_values_are_read_by_their_type() -> None:
    environ = {"ENCLII_BUILD_MEMORY": "512Mi", "ENCLII_BUILD_TIMEOUT": "1.5m", "ENCLII_REGISTRY_PLAIN_HTTP": "true"}

    settings = Settings.from_env(environ, process="builder")

    assert (settings.build_memory, settings.build_timeout, settings.registry_plain_http) == (512 << 20, 90.0, True)


def test_all_problems_are_told_at_once() -> None:
    environ = {"ENCLII_BUILD_MEMORY": "lots", "ENCLII_DRAIN": "0s", "ENCLII_TYPO": "1", "ENCLII_BUILD_CPUS": "nan"}

    assert [line.partition(":")[0] for line in _problems(environ, "builder")] == [
        "ENCLII_TYPO",
        "ENCLII_DRAIN",
        "ENCLII_BUILD_MEMORY",
        "ENCLII_BUILD_CPUS",
    ]


def test_what_a_process_needs_and_was_not_told_is_named() -> None:
    assert _problems({}, "githost") == [
        "ENCLII_GIT_READ_TOKEN: is needed and not set",
        "ENCLII_GIT_DEPLOY_TOKEN: is needed and not set",
        "ENCLII_GIT_WRITE_TOKEN: is needed and not set",
    ]


def test_no_given_value_is_repeated_in_a_problem() -> None:
    environ = {row.env: "hunter2\x00" for row in table()}

    for process in PROCESSES:
        assert "hunter2" not in "".join(_problems(environ, process))


def test_a_credential_in_an_address_is_refused_without_being_shown() -> None:
    (line,) = _problems({"ENCLII_NATS_URL": "nats://me:hunter2@127.0.0.1:4222"}, "door")

    assert "credentials have settings of their own" in line
    assert "hunter2" not in line


def test_a_process_does_not_see_what_it_is_not_granted() -> None:
    settings = Settings.from_env({"ENCLII_GIT_WRITE_TOKEN": "w", "ENCLII_SIGNING_KEY": "/k"}, process="builder")

    assert not settings.git_write_token
    assert settings.signing_key == Path("keys/signing.key")


def test_the_builder_is_granted_no_credential_of_git_signing_or_people() -> None:
    names = {row.env for row in granted("builder")}

    assert not [name for name in names if "GIT" in name or "KEY" in name or "WEBHOOK" in name or "API" in name]


@pytest.mark.parametrize(
    ("env", "holders"),
    [
        ("ENCLII_SIGNING_KEY", ["signer"]),
        ("ENCLII_GIT_WRITE_TOKEN", ["githost", "committer"]),
        ("ENCLII_GIT_DEPLOY_TOKEN", ["githost"]),
        ("ENCLII_API_TOKEN", ["console"]),
    ],
)
def test_each_credential_has_few_holders(env: str, holders: list[str]) -> None:
    assert [process for process in PROCESSES if env in {row.env for row in granted(process)}] == holders


def test_a_secret_may_be_given_by_the_name_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hunter2\n")

    settings = Settings.from_env({"ENCLII_NATS_PASSWORD_FILE": str(tmp_path / "password")}, process="door")

    assert settings.nats_password == Secret("hunter2")


def test_a_missing_file_of_a_secret_is_a_problem(tmp_path: Path) -> None:
    (line,) = _problems({"ENCLII_NATS_PASSWORD_FILE": str(tmp_path / "none")}, "door")

    assert line.endswith("cannot be read: FileNotFoundError")


def test_only_a_secret_can_be_given_by_file() -> None:
    assert _problems({"ENCLII_HOST_FILE": "/etc/hostname"}, "door") == [
        "ENCLII_HOST_FILE: only a secret can be given by file"
    ]


def test_one_file_serves_every_process_and_the_environment_wins(tmp_path: Path) -> None:
    text = 'instance = "one"\nlog_level = "error"\nport = 1\n[door]\nport = 7088\n[console]\nport = 7080\n'
    environ = _toml(tmp_path, text) | {"ENCLII_LOG_LEVEL": "debug"}

    settings = Settings.from_env(environ, process="door")

    assert (settings.instance, settings.port, settings.log_level) == ("one", 7088, "debug")


def test_a_broken_file_is_a_problem_beside_the_others(tmp_path: Path) -> None:
    lines = _problems(_toml(tmp_path, "instance =") | {"ENCLII_PORT": "-1"}, "door")

    assert "is not TOML" in lines[0]
    assert lines[1].startswith("ENCLII_PORT:")


def test_an_unknown_key_of_the_file_is_named(tmp_path: Path) -> None:
    assert _problems(_toml(tmp_path, "prot = 1\n[color]\nred = 1\n"), "door") == [
        "ENCLII_CONFIG: color: a single value is expected",
        "ENCLII_PROT: no such setting",
    ]


def test_several_webhook_secrets_are_live_newest_first() -> None:
    environ = {"ENCLII_WEBHOOK_SECRETS": "new, old", "ENCLII_NATS_USER": "receiver"}

    settings = Settings.from_env(environ, process="receiver")

    assert [secret.reveal() for secret in settings.webhook_secrets] == ["new", "old"]


def test_weaker_durability_must_be_said_in_words() -> None:
    assert Settings.from_env({"ENCLII_DURABILITY": MAY_LOSE}, process="door").durability == MAY_LOSE
    assert _problems({"ENCLII_DURABILITY": "false"}, "door")


def test_a_secret_shows_in_no_text() -> None:
    settings = Settings.from_env({"ENCLII_NATS_PASSWORD": "hunter2"}, process="door")

    assert "hunter2" not in f"{settings} {settings!r} {settings.nats_password} {settings.nats_password!r}"
    with pytest.raises(TypeError):
        json.dumps(settings.nats_password)
    with pytest.raises(TypeError):
        pickle.dumps(settings.nats_password)


def test_every_default_is_accepted_by_its_own_parser() -> None:
    assert len(fields(Settings())) == len(table())


def test_relative_paths_are_inside_the_state_folder() -> None:
    settings = Settings.from_env({"ENCLII_HOME": "/srv/e", "ENCLII_VERIFY_KEY": "/etc/pub"}, process="signer")

    assert settings.below_home(settings.signing_key) == Path("/srv/e/keys/signing.key")
    assert settings.below_home(settings.verify_key) == Path("/etc/pub")


def test_the_documentation_shows_every_setting_as_it_is() -> None:
    lines = DOCUMENT.read_text().splitlines()

    shown = [line for line in lines if line.startswith("| `ENCLII_") and "`ENCLII_CONFIG`" not in line]

    assert shown == [row.line() for row in table()]
