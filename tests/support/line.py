"""The whole line for one test: every process of Enclii for real, each of which can be killed and started again."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.process import orphan_proof
from pipeline.settings import granted
from tests.support.components import SEARCH_PATH, needs
from tests.support.free_ports import free_port
from tests.support.nats import AUTHORIZED, monitor_of, password_of, running_nats
from tests.support.registry import running_registry

COMMANDS = {
    "githost": ("ingest", "githost"),
    "receiver": ("ingest", "receiver"),
    "planner": ("pipeline", "planner"),
    "builder": ("pipeline", "builder"),
    "signer": ("pipeline", "signer"),
    "committer": ("gitops", "committer"),
    "syncer": ("gitops", "syncer"),
    "door": ("gitops", "door"),
    "console": ("console", "api"),
}
END_LIMIT = 60.0
DEPLOY, READ, WRITE, API = "deploy-token", "read-token", "write-token", "api-token"
ROOT = Path(__file__).parents[2]


class Line:
    """A running installation in one folder."""

    def __init__(self, home: Path, nats: str, registry: str, settings: Mapping[str, str] | None = None) -> None:
        self.settings = dict(settings or {})
        self.home = home
        self.registry = registry
        self.ports = {name: free_port() for name in ("githost", "receiver", "door", "console", "door_ops")}
        self.instance = "t" + os.urandom(4).hex()
        self.nats = nats
        self.more: dict[str, str] = {}  # settings of the processes that are started from now on
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *names: str) -> None:
        """Start the named processes, or all that do not run."""
        for name in names or COMMANDS:
            if name in self._children and self._children[name].poll() is None:
                continue
            self.start_as(name, *COMMANDS[name])

    def start_as(self, name: str, *module: str) -> None:
        """Start one process by another module than its own, with the settings that it always has."""
        argv = orphan_proof((sys.executable, "-m", *module))
        with (self.home / f"{name}.log").open("ab") as log:
            self._children[name] = subprocess.Popen(
                argv, cwd=ROOT, env=self._environment(name), stdout=log, stderr=subprocess.STDOUT
            )

    def start_beside(self, name: str, number: int = 2) -> str:
        """Start one more process of a kind, with a state folder of its own and the same keys; what it is called."""
        called = f"{name}-{number}"
        home = self.home / f"beside-{called}"
        if not home.exists():
            home.mkdir()
            (home / "keys").symlink_to(self.home / "keys")
        env = self._environment(name) | {"ENCLII_HOME": str(home)}
        argv = orphan_proof((sys.executable, "-m", *COMMANDS[name]))
        with (self.home / f"{called}.log").open("ab") as log:
            self._children[called] = subprocess.Popen(argv, cwd=ROOT, env=env, stdout=log, stderr=subprocess.STDOUT)
        return called

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send it a signal."""
        self._children[name].send_signal(number)

    def stopped(self, name: str) -> bool:
        """Whether it was stopped (SIGSTOP) and not continued."""
        stat = Path(f"/proc/{self._children[name].pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] == "T"

    def ended(self, name: str) -> int | None:
        """How the process ended, as Popen says it; None while it runs."""
        return self._children[name].poll()

    def ops(self, name: str, path: str) -> tuple[int, str]:
        """Status and body of an answer of the process's loopback port."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.ops_port(name)}{path}")
        try:
            with opened(request) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def ops_port(self, name: str) -> int:
        """The one port that the process listens on beside the one for its work; the system chose it."""
        child = Path(f"/proc/{self._children[name].pid}")
        held = set()
        for fd in (child / "fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed since it was listed
                held.add(str(fd.readlink()))
        rows = [row.split() for row in (child / "net/tcp").read_text().splitlines()[1:]]
        listening = {int(row[1].split(":")[1], 16) for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in held}
        (port,) = listening - {self.ports.get(name)}
        return port

    def listens(self, *names: str) -> bool:
        """True once each of the named processes (all that have a port, by default) accepts connections."""
        for name in names or ("githost", "receiver", "door", "console"):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.ports[name]), 1):
                continue
            return False
        return True

    def kill(self, name: str) -> None:
        """kill -9, and wait until it is gone."""
        self._children[name].kill()
        self._children[name].wait()

    def end(self) -> None:
        """TERM to all; what does not end is killed; the services' containers go too."""
        for child in self._children.values():
            child.send_signal(signal.SIGTERM)
        for child in self._children.values():
            try:
                child.wait(END_LIMIT)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self._remove_containers()

    def log(self, name: str) -> str:
        """What a process has logged."""
        path = self.home / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def api(self, path: str, body: dict[str, Any] | None = None, *, token: str = API, key: str = "") -> Any:
        """One request to the API, by the installation's own token or a person's; ``key`` makes it idempotent."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ports['console']}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            | ({"Idempotency-Key": key} if key else {}),
        )
        with opened(request) as answer:
            return json.load(answer)

    def page(self, host: str, path: str = "/") -> str:
        """What a service answers through the front door."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.ports['door']}{path}", headers={"Host": host})
        with opened(request) as answer:
            return str(answer.read().decode())

    def left_of_builds(self) -> list[str]:
        """Unpacked sources, and working containers in the builders' own storages."""
        rooms = [str(path) for path in (self.home / "builds").glob("context-*")]
        storages = (self.home / "builder").rglob("*-containers/containers.json")
        listed = [one for storage in storages for one in json.loads(storage.read_text() or "null") or []]
        return rooms + [str(one["id"]) for one in listed]

    def processes_with(self, word: str) -> list[int]:
        """The processes of this machine, those in containers too, whose arguments hold ``word``."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if word.encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
        return found

    def url(self, repository: str, token: str = DEPLOY) -> str:
        """The git host's address of a repository."""
        return f"http://deployer:{token}@127.0.0.1:{self.ports['githost']}/{repository}.git"

    def _environment(self, name: str) -> dict[str, str]:
        at = "http://127.0.0.1:"
        every = {
            "HOME": str(self.home),
            "INSTANCE": self.instance,
            "NATS_URL": self.nats,
            "NATS_MONITOR_URL": monitor_of(self.nats),
            "REGISTRY": self.registry,
            "REGISTRY_PLAIN_HTTP": "true",
            "GITHOST_URL": f"{at}{self.ports['githost']}",
            "CONFIG_URL": f"{at}{self.ports['githost']}/enclii/config.git",
            "CONSOLE_URL": f"{at}{self.ports['console']}",
            "RECEIVER_URL": f"{at}{self.ports['receiver']}",
            "DOOR_URL": f"http://localhost:{self.ports['door']}",
            "DOOR_OPS_PORT": str(self.ports["door_ops"]),
            "GIT_READ_TOKEN": READ,
            "GIT_DEPLOY_TOKEN": DEPLOY,
            "GIT_WRITE_TOKEN": WRITE,
            "WEBHOOK_SECRETS": "root-secret",
            "API_TOKEN": API,
            "NATS_USER": name,
            "NATS_PASSWORD": password_of(name),
            "NATS_SETUP_PASSWORD": password_of("setup"),
            "DEPLOY_TIMEOUT": "40s",
            "DRAIN": "3s",
            "HEAL": "5s",
            "PORT": str(self.ports.get(name, 0)),
            **self.more,
            "OPS_PORT": str(self.ports["door_ops"] if name == "door" else 0),
            **self.settings,
        }
        allowed = {row.env for row in granted(name)}
        given = {f"ENCLII_{key}": value for key, value in every.items() if f"ENCLII_{key}" in allowed}
        return {"PATH": SEARCH_PATH, "HOME": str(self.home), "LANG": "C.UTF-8", **given}

    def _remove_containers(self) -> None:
        """The containers are stopped first: podman takes seconds to remove a pod in which something still runs."""
        label = f"label=enclii.dev/instance={self.instance}"
        if there := self.podman("ps", "-aq", "--filter", label):
            self.podman("stop", "-t", "0", *there)
        for kind, every in (("pod", "-q"), ("container", "-aq")):  # pods know no -a
            if found := self.podman(kind, "ps", every, "--filter", label):
                self.podman(kind, "rm", "-f", "-t", "0", *found)
        mark = f"enclii-{hashlib.sha256(self.instance.encode()).hexdigest()[:10]}-"
        if secrets := [name for name in self.podman("secret", "ls", "--format", "{{.Name}}") if name.startswith(mark)]:
            self.podman("secret", "rm", *secrets)
        if networks := self.podman("network", "ls", "-q", "--filter", label):
            self.podman("network", "rm", "-f", *networks)

    def podman(self, *words: str) -> list[str]:
        """The words that podman prints, in the installation's own configuration."""
        configuration = self.home / "syncer/containers.conf"
        told = {"CONTAINERS_CONF": str(configuration)} if configuration.exists() else {}
        done = subprocess.run(["podman", *words], env=os.environ | told, capture_output=True, check=False)
        return done.stdout.decode().split()


@contextlib.contextmanager
def running_line(
    home: Path, settings: Mapping[str, str] | None = None, *, auth: Mapping[str, Any] | None = None
) -> Iterator[Line]:
    """Everything, started; ended with nothing left. ``settings`` are given besides the usual ones; ``auth``: as the
    registry's own configuration has it.
    """
    needs("podman", "buildah", "docker-registry", "nats-server", "git", "syft")
    with (
        running_nats(home / "nats", extra=AUTHORIZED) as nats,
        running_registry(home / "registry", auth=auth) as registry,
    ):
        line = Line(home, nats, registry, settings)
        try:
            line.start()
            eventually(line.listens, what="all processes listen")
            yield line
        finally:
            line.end()


def opened(request: urllib.request.Request, *, limit: float = 60.0) -> Any:
    """The answer; an error is raised with its text read, so that no socket waits for the collector."""
    try:
        return urllib.request.urlopen(request, timeout=limit)
    except urllib.error.HTTPError as error:
        with error:
            text = io.BytesIO(error.read())
        raise urllib.error.HTTPError(error.url, error.code, error.reason, error.headers, text) from None


def eventually(question: Callable[[], Any], *, limit: float = 120.0, what: str = "") -> Any:
    """The first true answer; asked again until ``limit`` seconds are over."""
    deadline = time.monotonic() + limit
    last: object = None
    while time.monotonic() < deadline:
        try:
            last = question()
            if last:
                return last
        except (OSError, ValueError, KeyError) as error:
            last = error
        time.sleep(0.1)  # any question about processes of their own; most have nothing to await
    raise AssertionError(f"not within {limit:g} s: {what or question}; last answer {last!r}")


def git(*words: str, cwd: Path) -> str:
    """Run git as a person would; its output, with what the remote said."""
    done = subprocess.run(
        ["git", "-c", "user.name=deployer", "-c", "user.email=deployer@example.test", *words],
        cwd=cwd, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, f"git {' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def run_enclii(line: Line, token: str, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command line as a person would, in a pipe."""
    env = {"PATH": SEARCH_PATH, "HOME": str(line.home), "ENCLII_TOKEN": token}
    env["ENCLII_SERVER"] = f"http://127.0.0.1:{line.ports['console']}"
    argv = (sys.executable, "-c", "from console.cli import main; main()", *words)
    return subprocess.run(
        argv, cwd=ROOT, env=env, input=stdin, capture_output=True, text=True, check=False, timeout=120
    )


def sample(folder: Path, page: str) -> None:
    """A repository with one service: Debian's static busybox that serves one page."""
    folder.mkdir(parents=True)
    shutil.copy(needs("busybox"), folder / "busybox")
    (folder / "index.html").write_text(page)
    (folder / "Dockerfile").write_text(
        "FROM scratch\nCOPY busybox /bin/busybox\nCOPY index.html /www/index.html\nUSER 10001\n"
        'CMD ["/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/www"]\n'
    )
    (folder / "enclii.yaml").write_text("services:\n  web:\n    port: 8080\n    health: /index.html\n    replicas: 2\n")
    git("init", "-q", "-b", "main", cwd=folder)
    commit(folder, "The first page")


def commit(folder: Path, message: str) -> str:
    """Commit everything; the commit's id."""
    git("add", "-A", cwd=folder)
    git("commit", "-q", "-m", message, cwd=folder)
    return git("rev-parse", "HEAD", cwd=folder).strip()
