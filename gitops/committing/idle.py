"""The sleep of what nobody asks for: a count of no replicas that Enclii wrote itself."""

from __future__ import annotations

from typing import Final

from gitops.committing.intents import Situation

IDLE: Final = "idle"
"""Why the count is none; one that somebody asked for says something else."""


def awake(here: Situation) -> Situation:
    """``here`` without that sleep; the same object when it does not sleep, or by somebody's word."""
    asleep = here.notes.scale is not None and here.notes.scale.why == IDLE
    return here.noted(scale=None) if asleep else here
