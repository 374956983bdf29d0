"""The state folder of one installation: its name, its secrets, its ports, and what each process is told of them.

What a start needs is derived from those three, which last, and written again each time; so an interrupted start leaves
nothing that the next one would trip over.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from console import credentials, nats_config, ports, stores
from pipeline.errors import Invalid, Unavailable
from pipeline.needs import SETUP
from pipeline.rights import USERS
from pipeline.settings import ALIASES, CONFIG, FILE, PREFIX, PROCESSES, Settings, granted

AMBIENT: Final = (
    *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "XDG_RUNTIME_DIR", "TMPDIR"),
    *("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR"),
)
"""What of the caller's environment reaches the processes, beside its ``ENCLII_*``."""
OWN: Final = frozenset(
    {
        *("ENCLII_HOST", "ENCLII_CONSOLE_URL", "ENCLII_RECEIVER_URL", "ENCLII_DOOR_URL"),
        *("ENCLII_REGISTRY", "ENCLII_REGISTRY_PLAIN_HTTP", "ENCLII_CONFIG_URL"),
    }
)
"""Proposed only: who is reached through another address, and whose images or config repository are elsewhere, says so
in the environment of ``enclii up``.
"""

FIRST: Final = frozenset({"lock", "clusters.yaml"})
"""What may be in a state folder before its first start: ``enclii cluster add`` may come before ``enclii up``."""


@dataclass(frozen=True)
class Addresses:
    """Where everything of one installation is reached; ``moved`` names what has another port than last time."""

    home: Path
    instance: str
    ports: Mapping[str, int]
    moved: tuple[str, ...] = ()
    already_up: bool = False

    @property
    def console(self) -> str:
        return self._http("console")

    @property
    def githost(self) -> str:
        return self._http("githost")

    @property
    def receiver(self) -> str:
        return self._http("receiver")

    @property
    def door(self) -> str:
        return f"http://localhost:{self.ports['door']}"

    @property
    def registry(self) -> str:
        return f"{ports.LOOPBACK}:{self.ports['registry']}"

    @property
    def nats(self) -> str:
        return f"nats://{ports.LOOPBACK}:{self.ports['nats']}"

    @property
    def nats_monitor(self) -> str:
        return self._http("nats_monitor")

    def ops(self, process: str) -> str:
        return self._http(f"{process}_ops")

    def _http(self, name: str) -> str:
        return f"http://{ports.LOOPBACK}:{self.ports[name]}"


def home_of(environ: Mapping[str, str], cwd: Path) -> Path:
    """The state folder: ``ENCLII_HOME``, else ``.enclii`` in the working directory."""
    return cwd / environ.get(PREFIX + "HOME", ".enclii")


def addresses(home: Path) -> Addresses:
    """Where the installation in ``home`` is. Raises Unavailable when it was never started."""
    found, instance = ports.read(home / "ports.toml"), instance_of(home)
    if not instance or found.keys() != ports.PREFERRED.keys():
        raise Unavailable(f"Enclii was not started in {home}: enclii up -d", reason="not_up")
    return Addresses(home, instance, found)


def token(home: Path, setting: str) -> str:
    """The secret that ``up`` made for ``setting``, for the person whose state folder it is."""
    try:
        return credentials.read(home / "secrets" / credentials.TOKENS[setting])
    except OSError as error:
        raise Unavailable(f"{setting} cannot be read in {home / 'secrets'}: enclii up -d", reason="not_up") from error


def environment(home: Path, process: str, *, environ: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of one process: what it is granted and no more. Secrets are named by their files."""
    names = {row.env for row in granted(process)}
    chosen = _chosen(addresses(home), process)
    settled = {name.removesuffix(FILE) for name in chosen} - OWN
    said = {name for name in environ if name == CONFIG or name.removesuffix(FILE) in names - settled}
    known = {name: value for name, value in chosen.items() if name.removesuffix(FILE) in names}
    if "ENCLII_REGISTRY" in said:
        known.pop("ENCLII_REGISTRY_PLAIN_HTTP", None)  # true of the one beside us, not of any other
    others = {name for name, ours in ALIASES.items() if ours in names}
    return known | {name: environ[name] for name in (*AMBIENT, *others, *said) if name in environ}


def _chosen(at: Addresses, process: str) -> dict[str, str]:
    folder = at.home / "secrets"
    values = {
        "HOME": str(at.home),
        "INSTANCE": at.instance,
        "HOST": ports.LOOPBACK,
        "OPS_PORT": str(at.ports[f"{process}_ops"]),
        "NATS_URL": at.nats,
        "NATS_MONITOR_URL": at.nats_monitor,
        "NATS_USER": process,
        "REGISTRY": at.registry,
        "REGISTRY_PLAIN_HTTP": "true",
        "GITHOST_URL": at.githost,
        "CONFIG_URL": f"{at.githost}/enclii/config.git",
        "RECEIVER_URL": at.receiver,
        "CONSOLE_URL": at.console,
        "DOOR_URL": at.door,
        "DOOR_OPS_PORT": str(at.ports["door_ops"]),
    }
    if process in at.ports:
        values["PORT"] = str(at.ports[process])
    passwords = {"ENCLII_NATS_PASSWORD": process, "ENCLII_NATS_SETUP_PASSWORD": SETUP}
    files = {name: credentials.nats(user) for name, user in passwords.items()} | credentials.TOKENS
    return {PREFIX + name: value for name, value in values.items()} | {
        name + FILE: str(folder / file) for name, file in files.items()
    }


def prepare(home: Path, *, environ: Mapping[str, str]) -> Addresses:
    """Make ``home`` ready for a start.

    Raises Invalid with every wrong setting of every process, or when the folder holds something else.
    """
    instance = instance_of(home) or _new_instance(home)
    credentials.create(home / "secrets")
    kept = ports.read(home / "ports.toml")
    taken = ports.choose(kept, ports.is_free)
    moved = tuple(name for name in kept if taken[name] != kept[name])
    credentials.write(home / "ports.toml", ports.render(taken))
    _write_stores(home, taken)
    at = Addresses(home, instance, taken, moved)
    _check_settings(home, environ)
    return at


def _write_stores(home: Path, taken: Mapping[str, int]) -> None:
    folder = home / "secrets"
    passwords = {name: credentials.read(folder / credentials.nats(name)) for name in USERS}
    text = nats_config.local(
        store=home / "nats", port=taken["nats"], monitor=taken["nats_monitor"], passwords=passwords
    )
    credentials.write(home / "nats.conf", text)
    secret = credentials.read(folder / credentials.REGISTRY)
    credentials.write(
        home / "registry.yml", stores.registry(store=home / "registry", port=taken["registry"], secret=secret)
    )


def _check_settings(home: Path, environ: Mapping[str, str]) -> None:
    """Every process would refuse to start on a wrong setting; here all of them are told at once, and once each."""
    known = {row.env for process in PROCESSES for row in granted(process)}
    unknown = {
        name: value
        for name, value in environ.items()
        if name.startswith(PREFIX) and name != CONFIG and name.removesuffix(FILE) not in known
    }
    problems: dict[str, None] = {f"{name}: no such setting": None for name in sorted(unknown)}
    for process in PROCESSES:
        try:
            Settings.from_env(
                {k: v for k, v in environment(home, process, environ=environ).items() if k.startswith(PREFIX)},
                process=process,
            )
        except Invalid as error:
            problems |= dict.fromkeys(error.message.splitlines())
    if problems:
        raise Invalid("\n".join(problems), reason="bad_settings")


def instance_of(home: Path) -> str:
    try:
        return (home / "instance").read_text().strip()
    except OSError:
        return ""


def _new_instance(home: Path) -> str:
    """A folder that holds something else is not taken: a purge would delete it."""
    if any(entry.name not in FIRST for entry in home.iterdir()):
        raise Invalid(f"{home} is not empty and not a state folder of Enclii", reason="bad_home")
    name = f"e{secrets.token_hex(4)}"
    credentials.write(home / "instance", name + "\n")
    return name
