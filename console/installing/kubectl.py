"""The one door to ``kubectl``, which knows how its owner reaches the cluster: contexts, plug-ins, proxies and all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from pipeline.errors import Refused, Unavailable
from pipeline.process import SEARCH_PATH, CommandFailed, CommandTimeout, run

LIMIT: Final = 120.0
MANAGER: Final = "enclii-install"
"""Who owns the fields that an install sets; what others set stays theirs."""


@dataclass(frozen=True)
class Kubectl:
    """``environ`` is the caller's: an exec plug-in of a kubeconfig may need any of it."""

    environ: Mapping[str, str]
    context: str = ""

    async def call(self, *words: str, stdin: bytes | None = None, streams: Literal["out", "both"] = "out") -> str:
        """What it prints; its errors too where ``both`` streams are wanted.

        Raises Refused with what the API server said, Unavailable when it does not answer.
        """
        program = shutil.which("kubectl", path=f"{self.environ.get('PATH', '')}:{SEARCH_PATH}")
        if program is None:
            raise Unavailable("kubectl is not installed, or not on PATH", reason="kubectl_missing")
        where = ("--context", self.context) if self.context else ()
        try:
            done = await run((program, *where, *words), timeout=LIMIT, env=self.environ, stdin=stdin)
        except CommandTimeout as error:
            raise Unavailable("kubectl did not end: does the cluster answer?", reason="cluster_away") from error
        except CommandFailed as error:
            said = error.stderr.decode("utf-8", "replace").strip() or f"kubectl ended with {error.returncode}"
            away = "was refused - did you specify" in said or "Unable to connect" in said or "no such host" in said
            if away:
                raise Unavailable(said, reason="cluster_away") from error
            conflict = "Apply failed with" in said and "conflict" in said
            raise Refused(said, reason="field_conflict" if conflict else "cluster_refused") from error
        return (done.stdout + (done.stderr if streams == "both" else b"")).decode("utf-8", "replace")

    async def get(self, *words: str) -> list[dict[str, Any]]:
        """The objects that ``kubectl get`` finds; none for a kind that the cluster does not have."""
        try:
            text = await self.call("get", *words, "--ignore-not-found", "-o", "json")
        except Refused as error:
            if "the server doesn't have a resource type" in error.message:
                return []
            raise
        found = json.loads(text) if text.strip() else {}
        items: list[dict[str, Any]] = found.get("items", [found] if found else [])
        return items

    async def kinds(self) -> frozenset[str]:
        """``apps/v1/Deployment``: each kind that the cluster serves, of every version."""
        lines = (await self.call("api-resources", "--no-headers")).splitlines()
        rows = [line.split() for line in lines]
        return frozenset(f"{row[-3]}/{row[-1]}" for row in rows if len(row) >= 4)
