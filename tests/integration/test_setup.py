"""``.ci/setup`` and ``.ci/packages`` on machines that lack this or that: what they run, what they say, what they leave.

Each test has a PATH of its own, with real tools by link and stubs that write down how they were called. The scripts run
in a mount namespace in which /usr/sbin is a folder of the test, so that nothing of this machine is touched.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.components import absent, needs

ROOT = Path(__file__).parents[2]
BASIC = ("bash", "sh", "env", "cat", "chmod", "rm", "grep", "uname", "dirname", "basename", "true")
INSTALL = "apt-get update && apt-get install -y --no-install-recommends"
POLICY = Path("/usr/sbin/policy-rc.d")


class Machine:
    """A machine as the scripts see it."""

    def __init__(self, tmp: Path) -> None:
        self.bin, self.sbin, self.calls = tmp / "bin", tmp / "sbin", tmp / "calls"
        self.bin.mkdir()
        self.sbin.mkdir()
        for name in BASIC:
            (self.bin / name).symlink_to(needs(name))

    def has(self, name: str, script: str = "exit 0") -> None:
        """A program that writes down its arguments and then runs ``script``."""
        file = self.bin / name
        file.write_text(f'#!/bin/sh\necho "{name} $*" >>{shlex.quote(str(self.calls))}\n{script}\n')
        file.chmod(0o755)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run one of the project's scripts on this machine."""
        inside = f"{needs('mount')} --bind {shlex.quote(str(self.sbin))} /usr/sbin && exec {shlex.join(words)}"
        root = () if os.geteuid() == 0 else ("--map-root-user",)
        return subprocess.run(
            (needs("unshare"), "--mount", *root, needs("bash"), "-c", inside),
            cwd=ROOT, env={"PATH": str(self.bin)}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False, timeout=60,
        )  # fmt: skip

    def called(self, name: str) -> list[str]:
        """How the program was called."""
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        return [line for line in lines if line.split()[0] == name]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    found = Machine(tmp_path)
    if found.run("true").returncode != 0:
        absent("no mount namespace can be made here")
    return found


def test_without_root_and_sudo_the_line_to_run_is_printed(machine: Machine) -> None:
    machine.has("id", "echo 1000")
    machine.has("apt-get")

    done = machine.run(".ci/setup", "packages")

    said, _, line = done.stderr.strip().partition(": ")[2].partition("try again: ")
    assert (done.returncode, said) == (1, "run this as root, then ")
    assert line.startswith(f"{INSTALL} git openssh-client buildah podman docker-registry runc")
    assert machine.called("apt-get") == []


def test_a_sudo_that_would_ask_for_a_password_is_not_waited_for(machine: Machine) -> None:
    machine.has("id", "echo 1000")
    machine.has("apt-get")
    machine.has("sudo", "exit 1")

    done = machine.run(".ci/setup", "packages")

    assert (done.returncode, INSTALL in done.stderr) == (1, True)
    assert machine.called("sudo") == ["sudo -n true"]


def test_with_sudo_it_says_so_and_installs_what_is_missing(machine: Machine) -> None:
    machine.has("id", "echo 1000")
    machine.has("apt-get")
    machine.has("sudo")

    done = machine.run(".ci/setup", "packages")

    assert done.returncode == 0
    assert done.stdout.startswith("setup: installing Debian packages with sudo: git openssh-client buildah podman")
    assert machine.called("sudo")[1].startswith("sudo .ci/packages git openssh-client buildah podman")


def test_without_apt_get_the_missing_packages_are_named(machine: Machine) -> None:
    machine.has("id", "echo 0")

    done = machine.run(".ci/setup", "packages")

    assert done.returncode == 1
    assert done.stderr.startswith(
        "setup: these Debian packages are missing, or what is like them: git openssh-client buildah podman"
    )


@pytest.mark.parametrize("word", ["update", "install"])
def test_a_failing_apt_get_ends_it_with_the_line_to_run_and_leaves_no_policy(machine: Machine, word: str) -> None:
    machine.has("id", "echo 0")
    machine.has("apt-get", f'[ "$1" = {word} ] && {{ echo "E: no route to the mirror" >&2; exit 100; }}; exit 0')

    done = machine.run(".ci/setup", "packages")

    assert done.returncode == 1
    assert "E: no route to the mirror" in done.stderr
    assert f"run this as root, then try again: {INSTALL} git openssh-client buildah podman" in done.stderr
    assert not (machine.sbin / POLICY.name).exists()


def test_packages_are_told_to_start_no_service_while_they_are_installed(machine: Machine) -> None:
    machine.has("apt-get", f'[ "$1" = update ] || {{ {POLICY} docker-registry start; echo "policy $?"; }}')

    done = machine.run(".ci/packages", "docker-registry")

    assert (done.returncode, done.stdout.strip()) == (0, "policy 101")
    assert [call.split()[1] for call in machine.called("apt-get")] == ["update", "install"]
    assert machine.called("apt-get")[1].endswith("--no-install-recommends docker-registry")
    assert not (machine.sbin / POLICY.name).exists()


def test_an_administrators_own_policy_stays_as_it_is(machine: Machine) -> None:
    machine.has("apt-get")
    own = machine.sbin / POLICY.name
    own.write_text("#!/bin/sh\nexit 0\n")

    assert machine.run(".ci/packages", "docker-registry").returncode == 0

    assert own.read_text() == "#!/bin/sh\nexit 0\n"


def test_where_nothing_is_missing_nothing_is_installed_and_nothing_said(machine: Machine) -> None:
    machine.has("apt-get")
    machine.has("id", "echo 0")
    for name in _needed():
        machine.has(name)

    done = machine.run(".ci/setup", "packages")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert machine.called("apt-get") == []


def test_python_packages_are_installed_once(tmp_path: Path) -> None:
    folder = tmp_path / "clone"
    (folder / ".ci").mkdir(parents=True)
    for name in ("requirements.lock", "pyproject.toml", ".ci/setup"):
        shutil.copy(ROOT / name, folder / name)
    python = folder / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\necho "$*" >>{shlex.quote(str(tmp_path / "calls"))}\n')
    python.chmod(0o755)

    runs = [subprocess.run((".ci/setup", "python"), cwd=folder, capture_output=True, text=True) for _ in range(2)]

    assert [(one.returncode, one.stdout) for one in runs] == [
        (0, "setup: installing Python packages into .venv\n"),
        (0, ""),
    ]
    assert (tmp_path / "calls").read_text().count("--require-hashes -r requirements.lock") == 1


def _needed() -> list[str]:
    """The programs that the script looks for, by its own table."""
    table = (ROOT / ".ci/setup").read_text().partition("needed=(")[2].partition(")")[0]
    return [Path(entry.partition("=")[2]).name for entry in table.split()]
