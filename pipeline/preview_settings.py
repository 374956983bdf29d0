"""The settings of previews: a part of the one table, see ``settings``."""

# ruff: noqa: RUF009 - as in settings

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline import parsing
from pipeline.setting import setting


@dataclass(frozen=True, kw_only=True)
class PreviewSettings:
    """How long previews live, how many there may be, and what they are signed with."""

    preview_domain: str = setting(parsing.host, "preview.localhost", "what addresses of previews end in", to="planner")
    preview_idle: float = setting(parsing.duration, "72h", "how long a preview lives that nobody uses", to="planner")
    preview_sleep: float = setting(parsing.duration, "1h", "how long it runs without a request", to="planner")
    preview_cap: int = setting(parsing.whole(1, 1000), "5", "open previews of one project", to="planner")
    preview_cap_all: int = setting(parsing.whole(1, 10_000), "20", "open previews altogether", to="planner")
    preview_sweep: float = setting(parsing.duration, "15m", "how often previews are looked over", to="planner")
    preview_key: Path = setting(parsing.path, "keys/preview.key", "the like for previews; made too", to="signer")
    preview_verify_key: Path = setting(
        parsing.path, "keys/preview.pub", "public key that previews are checked with", to="signer committer syncer"
    )
