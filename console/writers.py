"""Whether somebody else writes the config repository, as the committer found it."""

from __future__ import annotations

from console.projection import Projection
from gitops.committing.instances import FINDING
from pipeline.records import ConfigTip, Decision


def checks(db: Projection) -> list[dict[str, str]]:
    """An error while another Enclii keeps this one from writing; nothing once this one has written again."""
    found, tip = db.get(Decision, FINDING), db.get(ConfigTip, "main")
    if found is None or (tip is not None and tip.at > found.at):
        return []
    fix = "stop one of the two, or set ENCLII_CONFIG_INSTANCES"
    return [{"level": "error", "subject": "config repository", "message": found.message, "fix": fix}]
