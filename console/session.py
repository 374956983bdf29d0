"""Where a command stands: which server and token it uses, and which project, service and environment it means.

Everything is looked up when it is first needed, so that ``--help`` and ``up`` need no server.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from console.client import ANSWER_LIMIT, NOT_FOUND, NOT_LOGGED_IN, USAGE, Client, Failure, is_this_machine

if TYPE_CHECKING:
    from console.logins import Logins

STATE: Final = ".enclii"
ADDRESSES: Final = "addresses.json"
PORTS: Final = "ports.toml"
GIT_LIMIT: Final = 5.0
API: Final = "console"
ENDED: Final = ("STOPPED", "STOPPING", "FATAL", "UNKNOWN")
"""The states, in supervisor's words, of a process that is not started again."""


@dataclass(frozen=True)
class Scope:
    """A project, service and environment; an empty one is not narrowed down."""

    project: str = ""
    service: str = ""
    environment: str = ""

    @property
    def service_id(self) -> str:
        return f"{self.project}.{self.service}"

    def query(self) -> dict[str, str]:
        """As the API's parameters and bodies name it."""
        return {"project": self.project, "service": self.service, "environment": self.environment}

    def flags(self) -> str:
        """As it would be written on the command line."""
        pairs = (("-p", self.project), ("-e", self.environment), ("-s", self.service))
        return " ".join(f"{flag} {value}" for flag, value in pairs if value)


class Session:
    """One run of the program, with the environment and directory that it was started in."""

    def __init__(self, env: Mapping[str, str], cwd: Path) -> None:
        self.env = env
        self.cwd = cwd
        self.terminal = sys.stdout.isatty() and not env.get("CI")
        self.timeout: float | None = None
        self.quiet = False
        self.verbose = False
        self.asks = sys.stdin.isatty() and sys.stderr.isatty() and not env.get("CI")
        self.goes_on = ""
        """What goes on when its watcher leaves now, and how to see it again."""

    def keep(self, flag: str, value: Any) -> None:
        """What one of the flags that every command takes says."""
        if flag in {"server", "no_color"}:
            self.env = {**self.env, **({"NO_COLOR": "1"} if flag == "no_color" else {"ENCLII_SERVER": str(value)})}
        elif flag == "no_input":
            self.asks = False
        else:
            setattr(self, flag, value)

    def limit(self, default: float) -> float:
        """How many seconds to wait: what ``--timeout`` says, else ``default``."""
        return self.timeout or default

    def now(self) -> datetime.datetime:
        """The time that ages are measured from."""
        return datetime.datetime.now(datetime.UTC)

    @property
    def home(self) -> Path:
        """The state folder: the nearest one upward, else ENCLII_HOME, else a new one here."""
        return self._found_home or self.cwd / STATE

    @cached_property
    def _found_home(self) -> Path | None:
        for folder in (self.cwd, *self.cwd.parents):
            if any((folder / STATE / name).is_file() for name in (ADDRESSES, PORTS)):
                return folder / STATE
        given = self.env.get("ENCLII_HOME", "")
        return self.cwd / given if given else None

    @cached_property
    def api(self) -> Client:
        """The API. Raises Failure when nobody said where it is."""
        told = self._traced if self.verbose else None
        limit = self.limit(ANSWER_LIMIT)
        return Client(self._server(), self._token(), limit=limit, told=told, restarts=self._restarts)

    def anonymous(self) -> Client:
        """The API before anybody is logged in."""
        return Client(self._server(), "", limit=self.limit(ANSWER_LIMIT), told=self._traced if self.verbose else None)

    @property
    def server(self) -> str:
        """The API's address. Raises Failure."""
        return self._server()

    def _restarts(self) -> bool:
        """Whether the API is that of the state folder, whose supervisor runs and starts again what has died."""
        if self._server() != _address(self.home):
            return False
        from console import platform  # only for who has found nobody
        from pipeline.errors import EncliiError

        try:
            states = platform.status(self.home)
        except (EncliiError, OSError):
            return False
        return any(one.name == API and one.state not in ENDED for one in states)

    @staticmethod
    def _traced(line: str) -> None:
        print(line, file=sys.stderr)

    def _server(self) -> str:
        given = self.env.get("ENCLII_SERVER", "")
        if given:
            return given
        found = _address(self.home) or self.logins.newest()
        if found:
            return found
        raise Failure(
            "no Enclii was started here: neither ENCLII_SERVER nor a state folder names the API",
            reason="no_server",
            advice="enclii up -d, or enclii login --server URL",
        )

    @cached_property
    def logins(self) -> Logins:
        """The logins of the person at this machine."""
        from console.logins import Logins

        return Logins(self.env)

    def _token(self) -> str:
        server = self._server()
        given = self.env.get("ENCLII_TOKEN", "") or self.logins.token(server)
        if given:
            return given
        if server != _address(self.home) and not is_this_machine(server):
            raise Failure(
                f"no token for {server}: the local installation's is sent to no other machine",
                reason="no_token",
                exit_code=NOT_LOGGED_IN,
                advice=f"enclii login --server {server}",
            )
        try:
            return (self.home / "secrets" / "api-token").read_text().strip()
        except OSError as error:
            raise Failure(
                f"no token: ENCLII_TOKEN is not set, and the state folder's cannot be read ({error.strerror})",
                reason="no_token",
                exit_code=NOT_LOGGED_IN,
                advice="enclii login, or run this as the user who ran enclii up",
            ) from error

    def resolve(self, given: Scope, *, service: bool = False, environment: bool = False) -> Scope:
        """Fill in what was not given; with the flags set, fail unless service and environment are settled."""
        given = replace(
            given,
            project=given.project or self.env.get("ENCLII_PROJECT", ""),
            service=given.service or self.env.get("ENCLII_SERVICE", ""),
            environment=given.environment or self.env.get("ENCLII_ENVIRONMENT", ""),
        )
        projects = self.api.get("/v1/projects")["projects"]
        project, repository = self._project(given.project, projects)
        services = project["services"]
        names = [one["name"] for one in services if one["repository"] == repository] or [
            one["name"] for one in services
        ]
        environments = [one["name"] for one in project["environments"]]
        found = replace(given, project=project["slug"])
        if service:
            found = replace(found, service=found.service or _only(names, "service", "-s"))
        if environment:
            found = replace(found, environment=found.environment or _only(environments, "environment", "-e"))
        return found

    def _project(self, given: str, projects: list[dict[str, Any]]) -> tuple[dict[str, Any], str]:
        """The project, and the repository of the directory when it is known."""
        by_slug = {project["slug"]: project for project in projects}
        if given:
            if given not in by_slug:
                from console.texts import suggestion

                hint = suggestion(given, by_slug)
                raise Failure(f"no project {given!r}{hint}", reason="no_such_project", exit_code=NOT_FOUND)
            return by_slug[given], ""
        remotes = {bare(url) for url in self._remotes()} if len(projects) != 1 else set()
        for project in projects:
            for repository in project["repositories"]:
                if bare(repository["url"]) in remotes:
                    return project, repository["id"]
        return by_slug[_only(list(by_slug), "project", "-p")], ""

    def _remotes(self) -> list[str]:
        import asyncio

        from pipeline import process
        from pipeline.errors import EncliiError

        argv = ("git", "-C", str(self.cwd), "config", "--get-regexp", r"^remote\..*\.url$")
        try:
            done = asyncio.run(process.run(argv, timeout=GIT_LIMIT))
        except (EncliiError, OSError):
            return []  # not a repository, or no git: then the only project is meant
        pairs = (line.partition(" ") for line in done.stdout.decode("utf-8", "replace").splitlines())
        return [url for _, _, url in pairs if url]


def _address(home: Path) -> str:
    """The API's address as the state folder has it; "" when it has none.

    It is this machine's: a folder that came with a clone must not say where tokens are sent.
    """
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        found = str(json.loads((home / ADDRESSES).read_text())["api"])
        return found if is_this_machine(found) else ""
    return _loopback(home, "console")


def _loopback(home: Path, process: str) -> str:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        import tomllib

        return f"http://127.0.0.1:{int(tomllib.loads((home / PORTS).read_text())[process])}"
    return ""


def bare(url: str) -> str:
    """``host/path`` of a repository's address, the same for https, ssh and git's short form."""
    if "://" not in url and ":" in url:
        host, _, rest = url.partition(":")
        url = f"ssh://{host}/{rest}"
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:  # a remote may be any text
        return url
    return f"{parts.hostname or ''}{port}{parts.path.removesuffix('/').removesuffix('.git')}"


def _only(names: list[str], what: str, flag: str) -> str:
    if len(names) == 1:
        return names[0]
    if not names:
        advice = "git push, or enclii link URL"
        raise Failure(f"there is no {what} yet", reason=f"no_{what}", exit_code=NOT_FOUND, advice=advice)
    listed = ", ".join(names[:10])
    raise Failure(f"which {what}? {listed}", reason=f"ambiguous_{what}", exit_code=USAGE, advice=f"add {flag} NAME")
