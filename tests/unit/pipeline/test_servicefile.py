"""``enclii.yaml``: values exactly as written, and every problem of a file in one answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import Invalid
from pipeline.servicefile import Build, ReleaseJob, Resources, ServiceSpec, default_servicefile, parse_servicefile

DATA = Path(__file__).parents[2] / "data" / "servicefile"


def web(text: str) -> ServiceSpec:
    return parse_servicefile(f"services:\n  web: {text}\n").services[0]


def test_every_key_is_read_as_written() -> None:
    service = parse_servicefile((DATA / "full.yaml").read_text()).services[0]

    assert service.path == "services/web"
    assert service.build == Build(dockerfile="docker/Dockerfile", target="release", args={"VERSION": "1.10"})
    assert service.command == ("serve", "--port", "8080")
    assert service.env == {"LOG_LEVEL": "info", "RATIO": "0x10", "FLAG": "yes"}
    assert not service.previews


def test_everything_has_a_default() -> None:
    assert parse_servicefile((DATA / "full.yaml").read_text()).services[1] == ServiceSpec(name="worker")


def test_an_environment_overrides_what_it_names() -> None:
    service = parse_servicefile((DATA / "full.yaml").read_text()).services[0].for_environment("staging")

    assert service.replicas == 1
    assert service.env == {"LOG_LEVEL": "debug", "RATIO": "0x10", "FLAG": "yes"}
    assert service.resources == Resources(cpu="500m", memory="128Mi")
    assert service.environments == {}


def test_an_environment_without_overrides_has_what_all_have() -> None:
    assert web("{replicas: 3}").for_environment("production").replicas == 3


def test_all_problems_come_at_once_with_their_lines() -> None:
    with pytest.raises(Invalid) as caught:
        parse_servicefile((DATA / "wrong.yaml").read_text())

    assert caught.value.message + "\n" == (DATA / "wrong.txt").read_text()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "enclii.yaml:1: the file is empty"),
        ("services: {}", "at least one service is needed"),
        ("service: {}", 'enclii.yaml:1: service: unknown key; did you mean "services"?'),
        ("a: &x 1\nb: *x", "enclii.yaml:2: anchors and aliases are not allowed"),
        ("a: !!python/name:os.system x", "tags are not allowed"),
        ("services: [", "not YAML"),
        ("a: \x00", "not YAML"),
        ('services:\n  web:\n    env: {A: "\\ud800"}', "enclii.yaml:3: half of a surrogate pair"),
        ('services:\n  web: {"\\udfff": 1}', "enclii.yaml:2: half of a surrogate pair"),
        ("services:\n\tweb: {}", "enclii.yaml:2: not YAML"),
        ("services:\n  web: {port: 1}\n  web: {port: 2}", "enclii.yaml:3: services.web: this key is there twice"),
        ("services:\n  web: {env: {A: " + "x" * (1 << 20) + "}}", "larger than 256 KiB"),
        ("---\na: 1\n---\nb: 2", "more than one document"),
        ("[" * 5000, "nested too deeply"),
        ("#" * (256 * 1024 + 1), "larger than 256 KiB"),
        ("services:\n  web: [1]", "enclii.yaml:2: services.web: must be a mapping"),
        ("services:\n  web: {health: /x}", "a health path needs a port"),
        ("services:\n  web: {build: {buildpacks: {}, target: x}}", "cannot be used together with buildpacks"),
        ("services:\n  web: {path: .git/hooks}", "without .git"),
        (
            "services:\n  web:\n    volumes: {data: {}}",
            "enclii.yaml:3: services.web.volumes.data: Enclii keeps no data",
        ),
        ("services:\n  web:\n    databases: {main: {}}", "enclii.yaml:3: services.web.databases.main: Enclii runs no"),
        ("services:\n  web: {scale: {max: 3}}", "scaling by CPU needs resources.cpu"),
        ("services:\n  web: {scale: {min: 3, max: 2}}", "must not be below min"),
        ("services:\n  web: {replicas: 2, scale: {max: 3}}", "exclude each other"),
        ("services:\n  web: {release: {}}", "services.web.release: a command is missing"),
        ("services:\n  web: {user: 0}", "services.web.user: must be a whole number from 1"),
        ("services:\n  web: {secrets: {A: {external: x}}}", "services.web.secrets.A.external: must be of the form"),
        ("services:\n  web: {env: {A: x}, secrets: [A]}", "services.web.secrets: A is in env too"),
        ("services:\n  web: {previews: {enabled: yes}}", "must be true or false"),
    ],
)
def test_a_file_that_breaks_a_rule_is_refused(text: str, problem: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_servicefile(text)

    assert problem in caught.value.message


@pytest.mark.parametrize("value", ["0.1", "500m", "2", '"1.5"'])
def test_cpu_quantities(value: str) -> None:
    assert web(f"{{resources: {{cpu: {value}}}}}").resources.cpu == value.strip('"')


def test_a_repository_without_the_file_is_one_service() -> None:
    assert default_servicefile("Shop.API", ports=(8080,)).services == (ServiceSpec(name="shop-api", port=8080),)


@pytest.mark.parametrize("ports", [(), (80, 443)])
def test_without_exactly_one_exposed_port_there_is_none(ports: tuple[int, ...]) -> None:
    assert default_servicefile("shop", ports=ports).services[0].port is None


def test_secrets_say_where_their_values_lie() -> None:
    service = web("{secrets: {A: , B: {external: vault/shop/b}, C: {secret: tokens/c}}}")

    assert service.secrets == ("A",)
    assert service.external_secrets == {"B": "vault/shop/b"}
    assert service.existing_secrets == {"C": "tokens/c"}


def test_an_external_database_is_the_secret_that_leads_to_it() -> None:
    assert web("{databases: {main: {external: DATABASE_URL}}}").secrets == ("DATABASE_URL",)


def test_a_release_job_has_ten_minutes_unless_told() -> None:
    assert web("{release: {command: [migrate]}}").release == ReleaseJob(command=("migrate",), timeout=600)
    assert web("{release: {command: [migrate], timeout: 90s}}").release == ReleaseJob(command=("migrate",), timeout=90)
