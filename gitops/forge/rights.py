"""Who may say which command: the level that the project asks for, and the level that somebody has on the forge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gitops.forge import LEVELS, Level
from pipeline.comments import Asked
from pipeline.records import Project

READ: Final[Level] = "read"
PREVIEW: Final[Level] = "write"
APPROVE: Final[Level] = "maintain"
OFF: Final = "off"


@dataclass(frozen=True)
class Denied:
    """Why not, as a reason and as one sentence."""

    reason: str
    message: str


def needed(asked: Asked, project: Project) -> Level | None:
    """The least level that may ask for it; None when it is switched off."""
    if asked.verb in ("why", "help") or (asked.verb == "preview" and asked.preview in ("status", "help")):
        return READ
    if asked.verb == "preview":
        approve = asked.preview == "approve"
        word = project.chatops.get("approve" if approve else "preview", APPROVE if approve else PREVIEW)
        return _level(word)
    rules = next((one.chatops for one in project.environments if one.name == asked.environment), {})
    return _level(rules.get(asked.verb, OFF))


def decide(asked: Asked, project: Project, level: Level) -> Denied | None:
    """None when somebody of that level may ask for it."""
    least = needed(asked, project)
    if least is None:
        where = f" in {asked.environment}" if asked.environment else ""
        return Denied("switched_off", f"`/{asked.verb}` is switched off{where}: see chatops in project.yaml")
    if LEVELS.index(level) < LEVELS.index(least):
        return Denied("missing_right", f"this needs {least}; you have {level}")
    return None


def _level(word: str) -> Level | None:
    return next((level for level in LEVELS if level == word), None)
