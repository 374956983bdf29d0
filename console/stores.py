"""The configuration file of the registry that Enclii runs itself."""

from __future__ import annotations

import json
from pathlib import Path

from console.ports import LOOPBACK


def registry(*, store: Path, port: int, secret: str) -> str:
    """The registry's configuration; JSON, which is YAML too."""
    document = {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(store)}, "delete": {"enabled": True}},
        "http": {"addr": f"{LOOPBACK}:{port}", "secret": secret},
    }
    return json.dumps(document, indent=2) + "\n"
