"""The NATS server's configuration: every write fsynced, and a user for each process with its rights and no more.

On one machine it listens on the loopback alone and the passwords stand in the file, which its owner alone may read. In
a cluster TLS is demanded of everybody, the servers form a cluster of their own, and a password is the name of a
variable of the server's environment, whose value may be a bcrypt hash.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from console.ports import LOOPBACK
from pipeline.rights import USERS, rights_of

MAX_PAYLOAD: Final = 8 << 20
ACCOUNT: Final = "ENCLII"
ANSWER_WITHIN: Final = "5m"
"""How long after a question its answer may come: an exec session asks and waits."""
_COMMON: Final = f"""\
max_payload: {MAX_PAYLOAD}
lame_duck_duration: 30s
"""


@dataclass(frozen=True)
class Reference:
    """A variable of the server's environment."""

    name: str


@dataclass(frozen=True)
class Tls:
    """Files of one server: its certificate, its key, and the authority that signed those of all servers."""

    cert: str
    key: str
    ca: str


@dataclass(frozen=True)
class Member:
    """One server of several, by what may differ between them. Values may be references.

    The addresses are a pod's, where network policies say who reaches it. ``routes`` are ``host:port`` of every server,
    this one too.
    """

    name: str | Reference
    listen: str = "0.0.0.0:4222"
    routing: str = "0.0.0.0:6222"
    monitor: str = "0.0.0.0:8222"
    routes: Sequence[str] = ()
    store: str = "/data"


def reference(user: str) -> Reference:
    """The variable that holds ``user``'s password, or its hash, in a server's environment."""
    return Reference(f"ENCLII_NATS_{user.upper()}")


def permissions(user: str) -> dict[str, Any]:
    """A user's rights in NATS' own form."""
    found = rights_of(user)
    publish = {"allow": list(found.publish)} | ({"deny": list(found.never)} if found.never else {})
    answers = {"allow_responses": {"max": 1, "expires": ANSWER_WITHIN}} if len(found.listen) > 1 else {}
    return {"publish": publish, "subscribe": {"allow": list(found.listen)}, **answers}


def local(*, store: Path, port: int, monitor: int, passwords: Mapping[str, str]) -> str:
    """For one machine: loopback only. ``passwords`` has one for each user."""
    return f"""\
listen: "{LOOPBACK}:{port}"
http: "{LOOPBACK}:{monitor}"
{_COMMON}{_jetstream(str(store))}{authorization(passwords)}"""


def authorization(passwords: Mapping[str, str], *, more: str = "") -> str:
    """The users of a server that knows no accounts; ``more`` is another one, as NATS writes it."""
    return f"""\
authorization {{
  users: [
{_users(passwords)}
{more}
  ]
}}
"""


def member(one: Member, *, tls: Tls) -> str:
    """For one server of a cluster, or the only one of it; all have the same but for ``one``.

    Passwords are references: see ``reference``. Routes are authenticated by certificates.
    """
    passwords = {user: reference(user) for user in USERS}
    return f"""\
server_name: {_value(one.name)}
listen: {_value(one.listen)}
http: {_value(one.monitor)}
{_COMMON}{_tls(tls, verify=False)}{_jetstream(one.store)}{_cluster(one, tls)}accounts {{
  {ACCOUNT}: {{
    jetstream: enabled
    users: [
{_users(passwords)}
    ]
  }}
  SYS: {{}}
}}
system_account: SYS
"""


def _jetstream(store: str) -> str:
    return f"""\
jetstream {{
  store_dir: {_value(store)}
  sync_interval: always
}}
"""


def _cluster(one: Member, tls: Tls) -> str:
    if not one.routes:
        return ""
    routes = "\n".join(f'    "nats://{route}"' for route in one.routes)
    files = _tls(tls, verify=True).replace("\n", "\n  ").rstrip()
    return f"""\
cluster {{
  name: enclii
  listen: {_value(one.routing)}
  {files}
  routes: [
{routes}
  ]
}}
"""


def _tls(files: Tls, *, verify: bool) -> str:
    asked = "\n  verify: true" if verify else ""
    return f"""\
tls {{
  cert_file: {_value(files.cert)}
  key_file: {_value(files.key)}
  ca_file: {_value(files.ca)}{asked}
}}
"""


def _users(passwords: Mapping[str, str | Reference]) -> str:
    return "\n".join(_user(name, password) for name, password in passwords.items())


def _user(name: str, password: str | Reference) -> str:
    return f"    {{user: {_value(name)}, password: {_value(password)}, permissions: {json.dumps(permissions(name))}}}"


def _value(value: str | Reference) -> str:
    return f"${value.name}" if isinstance(value, Reference) else json.dumps(value)
