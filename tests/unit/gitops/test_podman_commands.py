"""Podman's command lines, names, log lines and judgements, as values."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from gitops.clusters import (
    Replica,
    ServiceRef,
    Wanted,
    podman_commands,
    podman_host,
    podman_logs,
    podman_observe,
    subset,
)
from pipeline.errors import Permanent, Unavailable
from pipeline.process import CommandFailed, CommandTimeout
from tests.unit.gitops.test_subset import IMAGE, deployment, wanted

REF = ServiceRef("shop", "production", "web")
BARE_HOST = podman_host.Host(
    systemd=False,
    unified_cgroups=False,
    runc=True,
    rootless=False,
    may_raise_limits=False,
    files=20_000,
    processes=4_096,
)
USUAL_HOST = podman_host.Host(
    systemd=True,
    unified_cgroups=True,
    runc=True,
    rootless=False,
    may_raise_limits=True,
    files=1_048_576,
    processes=32_768,
)


def test_pod_names_differ_by_instance_project_environment_service_and_deployment() -> None:
    places = [("i", REF, "d1"), ("j", REF, "d1"), ("i", REF, "d2")]
    places += [("i", ServiceRef(*other), "d1") for other in (("b", "production", "web"), ("shop", "x", "web"))]

    assert len({podman_commands.pod_name(*place, 0) for place in places}) == 5


def test_pod_names_fit_a_host_name_whatever_the_service_is_called() -> None:
    name = podman_commands.pod_name("i", ServiceRef("p", "e", "Ä_" + "x" * 200), "d", 12)

    assert len(name) <= 63
    assert name.isascii()


def test_play_takes_the_manifest_from_stdin_and_the_service_as_alias() -> None:
    assert podman_commands.play("net", "web")[-3:] == ("--network", "net:alias=web", "-")


def test_containers_are_filtered_by_all_four_owners() -> None:
    argv = podman_commands.containers("i", REF)

    assert argv[-4:] == (
        "--filter=label=enclii.dev/instance=i",
        "--filter=label=enclii.dev/project=shop",
        "--filter=label=enclii.dev/environment=production",
        "--filter=label=enclii.dev/service=web",
    )


@pytest.mark.parametrize(
    ("doing", "stderr", "kind", "reason"),
    [
        ("pull x", b"manifest unknown: manifest unknown", Permanent, "image_missing"),
        ("pull x", b"dial tcp 127.0.0.1:1: connection refused", Unavailable, "registry_unavailable"),
        ("start x", b"cannot listen on the TCP port: address in use", Unavailable, "port_taken"),
        ("start x", b"executable file not found in $PATH", Permanent, "command_not_found"),
        ("start x", b"anything else", Unavailable, "podman_failed"),
    ],
)
def test_failures_are_told_apart(doing: str, stderr: bytes, kind: type[Exception], reason: str) -> None:
    found = podman_commands.fault(CommandFailed(("podman",), 125, stderr), doing)

    assert (type(found), found.reason) == (kind, reason)


def test_a_podman_that_hangs_or_is_missing_is_unavailable() -> None:
    hangs = podman_commands.fault(CommandTimeout(("podman",), 3), "look")
    missing = podman_commands.fault(CommandFailed(("podman",), 127, b"No such file or directory: 'podman'"), "look")

    assert (hangs.reason, missing.reason) == ("podman_hangs", "podman_missing")


def test_a_usual_host_needs_no_configuration() -> None:
    assert podman_host.containers_conf(USUAL_HOST) is None


def test_a_host_without_systemd_unified_cgroups_or_rights_gets_what_it_needs() -> None:
    text = podman_host.containers_conf(BARE_HOST) or ""

    assert 'cgroup_manager = "cgroupfs"' in text
    assert 'runtime = "runc"' in text
    assert '"nofile=20000:20000", "nproc=4096:4096"' in text


def test_limits_do_not_work_rootless_without_controllers() -> None:
    info = {"host": {"security": {"rootless": True}, "cgroupControllers": ["pids"]}}

    assert not podman_host.limits_work(info)


def test_doctor_warns_of_a_storage_that_copies() -> None:
    info = {"host": {"security": {}}, "store": {"graphDriverName": "vfs"}, "version": {"Version": "4.3.1"}}

    assert [one.subject for one in podman_host.findings(info) if one.level == "warning"] == ["podman storage"]


def test_log_lines_keep_nanoseconds_and_bytes() -> None:
    raw = b"2026-11-23T09:51:21.508337792+00:00 caf\xc3\xa9 \xff"

    line = podman_logs.parse(raw, replica="r", release="v1", stream="stderr")

    assert line is not None
    assert (line.time % 1_000_000_000, line.text, line.stream) == (508_337_792, b"caf\xc3\xa9 \xff", "stderr")
    assert podman_logs.stamp(line.time) == "2026-11-23T09:51:21.508337792Z"


def test_what_carries_no_time_is_no_log_line() -> None:
    assert podman_logs.parse(b"failed to connect to syslog", replica="r", release="v1", stream="stderr") is None


def test_five_restarts_within_ten_seconds_are_a_loop() -> None:
    loops = podman_observe.Loops()

    assert [loops.looping("c", count, at) for at, count in ((0.0, 0), (1.0, 4), (2.0, 5))] == [False, False, True]


def test_restarts_spread_over_time_are_no_loop() -> None:
    loops = podman_observe.Loops()

    assert not any(loops.looping("c", count, count * 11.0) for count in range(12))


def test_the_code_of_a_loop_is_its_own_and_not_that_of_our_stop() -> None:
    loops = podman_observe.Loops()

    codes = [loops.exit_code("c", code, looping=looping) for code, looping in ((3, False), (0, True), (137, False))]

    assert codes == [3, 3, 3]


def container(**state: Any) -> dict[str, Any]:
    labels = {"image": IMAGE, "pod": "pod-0", "replica": "0", "release": "v1", "port": "8080"}
    return {
        "Config": {"Labels": {podman_commands.PREFIX + key: value for key, value in labels.items()}},
        "State": {"Running": True, "StartedAt": "2026-11-23T09:51:21.5Z", "ExitCode": 0, **state},
        "RestartCount": 0,
    }


def look(item: dict[str, Any], *, digests: tuple[str, ...] = (IMAGE,), looping: bool = False) -> Replica:
    moment = datetime(2026, 11, 23, 9, 52, tzinfo=UTC)
    return podman_observe.replica(item, repo_digests=digests, answer=None, looping=looping, now=moment)


def test_the_digest_is_what_the_image_has_and_not_what_was_asked() -> None:
    other = IMAGE.replace("a" * 64, "b" * 64)

    assert look(container(), digests=(other,)).digest == "sha256:" + "b" * 64


def test_a_wrong_digest_is_unhealthy_however_well_it_runs() -> None:
    asked: Wanted = wanted(deployment())
    replica = look(container(), digests=(IMAGE.replace("a" * 64, "b" * 64),))

    health = podman_observe.judge(asked, subset.translate(asked), [replica, replica])

    assert (health.status, health.reason) == ("unhealthy", "wrong_digest")


def test_too_few_replicas_are_unhealthy() -> None:
    asked = wanted(deployment())

    assert podman_observe.judge(asked, subset.translate(asked), [look(container())]).reason == "missing_replicas"


def test_a_kill_under_a_memory_limit_is_called_out_of_memory() -> None:
    item = {**container(ExitCode=137), "HostConfig": {"Memory": 1}}

    assert look(item, looping=True).reason == "oom"
