"""Processes in the background: supervisor's configuration, and how it is started, asked and ended.

Each program is prefixed so that the kernel ends it when supervisor dies, however it dies; none outlives it, and a new
start never doubles one.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import sys
import xmlrpc.client
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from console.until import until
from pipeline import process
from pipeline.errors import Invalid, Unavailable

STORES: Final = "stores"
ENCLII: Final = "enclii"
LOG_BYTES: Final = 10 << 20
LOGS_KEPT: Final = 3
RETRIES: Final = 1_000_000
"""Supervisor gives up after so many; each retry waits a second longer than the one before."""
START_LIMIT: Final = 20.0
_CALL_LIMIT: Final = 10.0
_ALIVE: Final = ("STARTING", "RUNNING", "BACKOFF")
_SOCKET_PATH_LIMIT: Final = 90
"""A Unix socket's path holds 107 bytes, and supervisor appends a number of its own while it binds."""


@dataclass(frozen=True)
class Program:
    """One process to keep running. ``stop`` is how long it may drain after TERM before KILL."""

    name: str
    argv: tuple[str, ...]
    group: str = ENCLII
    env: Mapping[str, str] = field(default_factory=dict)
    stop: int = 30


@dataclass(frozen=True)
class State:
    """How a program is, in supervisor's words: RUNNING, STARTING, BACKOFF (a crash loop), STOPPED, EXITED, FATAL."""

    name: str
    state: str
    pid: int
    since: int
    problem: str

    @property
    def running(self) -> bool:
        return self.state == "RUNNING"


@dataclass(frozen=True)
class Files:
    """Where supervisor keeps what is its own."""

    config: Path
    socket: Path
    pid: Path
    logs: Path


def files(home: Path, *, instance: str, runtime: Path) -> Files:
    """The files in the state folder; the socket goes to ``runtime`` when its path would be too long for the kernel."""
    near = home / "supervisor.sock"
    far = runtime / f"enclii-{os.getuid()}-{instance}" / "supervisor.sock"
    chosen = near if len(os.fsencode(near)) <= _SOCKET_PATH_LIMIT else far
    return Files(home / "supervisord.conf", chosen, home / "supervisord.pid", home / "logs")


def render(programs: Sequence[Program], at: Files, *, cwd: Path) -> str:
    """Supervisor's configuration. Secrets do not belong into ``Program.env``: programs are told their files."""
    return "\n".join(
        [_daemon(at), *(_group(name, programs) for name in (STORES, ENCLII)), *(_program(p, at, cwd) for p in programs)]
    )


def _daemon(at: Files) -> str:
    return f"""\
[supervisord]
logfile={_plain(at.logs / "supervisord.log")}
logfile_maxbytes={LOG_BYTES}
logfile_backups={LOGS_KEPT}
pidfile={_plain(at.pid)}
childlogdir={_plain(at.logs)}
umask=077
minfds=1024
minprocs=200

[unix_http_server]
file={_plain(at.socket)}
chmod=0600

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""


def _group(name: str, programs: Sequence[Program]) -> str:
    """Groups end one after the other, the stores last; within a group all drain at the same time."""
    members = ",".join(program.name for program in programs if program.group == name)
    return f"[group:{name}]\nprograms={members}\npriority={10 if name == STORES else 20}\n" if members else ""


def _program(program: Program, at: Files, cwd: Path) -> str:
    argv = ("setpriv", "--pdeathsig", "TERM", "--", *program.argv)
    environment = ",".join(f"{name}={_variable(value)}" for name, value in sorted(program.env.items()))
    # TERM goes to the process alone, which drains and ends its own children in their own groups; KILL, once it had
    # its time, goes to whatever is left in its group. EXITED is not an end: whatever the code, it is started again.
    return f"""\
[program:{program.name}]
command={" ".join(_argument(part) for part in argv)}
directory={_plain(cwd)}
environment={environment}
autostart=false
autorestart=true
startsecs=3
startretries={RETRIES}
stopsignal=TERM
stopwaitsecs={program.stop}
stopasgroup=false
killasgroup=true
redirect_stderr=true
stdout_logfile={_plain(at.logs / program.name)}.log
stdout_logfile_maxbytes={LOG_BYTES}
stdout_logfile_backups={LOGS_KEPT}
"""


def _plain(value: object) -> str:
    """A value as supervisor reads it: ``%`` expands. What it would take for a comment or a new line is refused."""
    text = str(value)
    if "\n" in text or " ;" in text or " #" in text:
        raise Invalid(f"supervisor's configuration cannot hold {text!r}", reason="bad_path")
    return text.replace("%", "%%")


def _argument(value: str) -> str:
    return '"' + _plain(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _variable(value: str) -> str:
    """Unlike in a command, nothing can be escaped here."""
    if '"' in value or value != value.strip("'"):
        raise Invalid(f"supervisor's environment cannot hold {value!r}", reason="bad_path")
    return f'"{_plain(value)}"'


async def start(at: Files, *, env: Mapping[str, str]) -> None:
    """Start the supervisor, which leaves this process' session; returns once it answers. Raises Unavailable."""
    for folder in (at.logs, at.socket.parent):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    # The group that this command is run in is ended with it. Supervisor must not be in it, at no moment: so a session
    # of its own before its first instruction, and the command waits until supervisor has become a daemon within that.
    argv = ("setsid", "--fork", "--wait", sys.executable, "-m", "supervisor.supervisord", "-c", str(at.config))
    done = await process.run(argv, timeout=START_LIMIT, env=env, check=False)
    if done.returncode != 0 or not until(lambda: alive(at), START_LIMIT):
        said = (done.stderr + done.stdout)[-1_000:].decode("utf-8", "replace").strip()
        raise Unavailable(f"supervisor did not start: {said}; its log is in {at.logs}", reason="supervisor_failed")


def start_group(at: Files, group: str) -> None:
    """Start every program of a group that is not running; does not wait for it to be ready."""
    with _api(at) as api:
        api.startProcessGroup(group, False)


def end(at: Files, names: Sequence[str], *, limit: float) -> tuple[str, ...]:
    """End these programs until ``begin``; those that ran, by name. Raises Unavailable if one is still there then."""
    with _api(at) as api:
        found = {info["name"]: info for info in api.getAllProcessInfo() if info["name"] in names}
        running = tuple(name for name, info in found.items() if info["statename"] in _ALIVE)
        for name in running:
            api.stopProcess(f"{found[name]['group']}:{name}", False)
    if not until(
        lambda: not any(one.name in running and one.state in (*_ALIVE, "STOPPING") for one in status(at)), limit
    ):
        raise Unavailable(f"not ended within {limit:g} s: one of {', '.join(running)}", reason="still_up")
    return running


def begin(at: Files, names: Sequence[str]) -> None:
    """Start these programs again; does not wait for them to be ready."""
    with _api(at) as api:
        for info in api.getAllProcessInfo():
            if info["name"] in names and info["statename"] not in _ALIVE:
                api.startProcess(f"{info['group']}:{info['name']}", False)


def stop(at: Files, *, limit: float) -> None:
    """End all programs, the stores last, and then the supervisor itself; returns when it is gone.

    Raises Unavailable if it is still there after ``limit`` seconds.
    """
    pid = _pid(at)
    try:
        with _api(at) as api:
            pid = int(api.getPID())
            api.shutdown()
    except Unavailable:
        # It does not answer, or not any more. One that is stopped or hangs must go all the same.
        if pid is None:
            return
        os.kill(pid, signal.SIGCONT)
        os.kill(pid, signal.SIGTERM)
    ended = pid
    if not until(lambda: not _is_supervisor(ended), limit):
        raise Unavailable(f"supervisor (pid {pid}) still runs {limit:g} s after it was told to end", reason="still_up")


def alive(at: Files) -> bool:
    """True if a supervisor answers on the socket."""
    try:
        with _api(at) as api:
            return bool(api.getState()["statename"] == "RUNNING")
    except Unavailable:
        return False


def status(at: Files) -> tuple[State, ...]:
    """How each program is. Raises Unavailable when no supervisor answers."""
    with _api(at) as api:
        return tuple(_state(info) for info in api.getAllProcessInfo())


def _state(info: Mapping[str, Any]) -> State:
    return State(info["name"], info["statename"], info["pid"], info["start"], info["spawnerr"] or "")


def _pid(at: Files) -> int | None:
    """The supervisor's process id, if the file tells the truth: a machine gives old ids to new processes."""
    try:
        pid = int(at.pid.read_text())
    except (OSError, ValueError):
        return None
    return pid if _is_supervisor(pid) else None


def _is_supervisor(pid: int) -> bool:
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes()
        dead = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False
    return b"supervisord" in arguments and not dead


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_CALL_LIMIT)
        self._path = path

    def connect(self) -> None:
        opened = socket.socket(socket.AF_UNIX)
        opened.settimeout(self.timeout)
        try:
            opened.connect(str(self._path))
        except OSError:
            opened.close()
            raise
        self.sock = opened


class _Transport(xmlrpc.client.Transport):
    """XML-RPC as supervisor speaks it: over a Unix socket that only its owner may open."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._channel = _Connection(path)

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        return self._channel

    def close(self) -> None:
        self._channel.close()


@contextmanager
def _api(at: Files) -> Iterator[Any]:
    try:
        with xmlrpc.client.ServerProxy("http://localhost", transport=_Transport(at.socket)) as proxy:
            yield cast(Any, proxy).supervisor
    except xmlrpc.client.Fault as error:
        raise Unavailable(f"supervisor refused: {error.faultString}", reason="supervisor_failed") from error
    except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
        raise Unavailable(f"no supervisor answers: {type(error).__name__}", reason="not_up") from error
