"""Where a login of the command line is kept: the system's keyring where there is one, else a file of the owner's alone.

``keyring`` is used when it is installed and has a real backend; nothing else of the program needs it.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from console.client import Failure

SERVICE: Final = "enclii"
IN_KEYRING: Final = "keyring"


class Logins:
    """Tokens by server, with the id of each so that it can be ended there."""

    def __init__(self, env: Mapping[str, str]) -> None:
        base = env.get("XDG_CONFIG_HOME", "")
        self._file = (
            Path(base) if base else Path(env.get("HOME", "") or "/nonexistent") / ".config"
        ) / "enclii/logins.json"
        self._plain = env.get("ENCLII_KEYRING", "") == "off"

    @property
    def file(self) -> Path:
        return self._file

    def token(self, server: str) -> str:
        """The token for a server; "" without a login."""
        found = self._read().get(server, {})
        if found.get("kept") == IN_KEYRING:
            ring = self._keyring()
            with contextlib.suppress(Exception):  # a locked or broken keyring is a login that is not there
                return str(ring.get_password(SERVICE, server) or "") if ring else ""
            return ""
        return str(found.get("token", ""))

    def number(self, server: str) -> str:
        """The id of that login's token; "" when it is not known."""
        return str(self._read().get(server, {}).get("id", ""))

    def newest(self) -> str:
        """The server that was logged in at last; "" for none."""
        return next(reversed(self._read()), "")

    def keep(self, server: str, token: str, *, number: str) -> str:
        """Keep a login, and say where. Raises Failure when it cannot be kept."""
        known = {name: value for name, value in self._read().items() if name != server}
        ring = self._keyring()
        if ring is not None:
            with contextlib.suppress(Exception):  # whatever a backend raises: then the file
                ring.set_password(SERVICE, server, token)
                self._write({**known, server: {"id": number, "kept": IN_KEYRING}})
                return "the system's keyring"
        self._write({**known, server: {"id": number, "token": token}})
        return str(self._file)

    def forget(self, server: str) -> None:
        """Keep it no more."""
        ring = self._keyring()
        if ring is not None:
            with contextlib.suppress(Exception):
                ring.delete_password(SERVICE, server)
        self._write({name: value for name, value in self._read().items() if name != server})

    def _keyring(self) -> Any:
        """The keyring, if one is installed that really keeps something."""
        if self._plain:
            return None
        try:
            import keyring  # type: ignore[import-not-found, unused-ignore]
        except ImportError:
            return None
        return keyring if getattr(keyring.get_keyring(), "priority", 0) >= 1 else None

    def _read(self) -> dict[str, dict[str, str]]:
        try:
            found = json.loads(self._file.read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self, logins: dict[str, dict[str, str]]) -> None:
        draft = self._file.with_name(f".{self._file.name}.draft")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft.unlink(missing_ok=True)
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w") as stream:
                json.dump(logins, stream)
            draft.replace(self._file)
        except OSError as error:
            raise Failure(f"{self._file} cannot be written ({error.strerror})", reason="not_kept") from error
