"""What becomes of a message whose handling failed: a pure decision over the error and the number of tries."""

from __future__ import annotations

import random
from dataclasses import dataclass

from pipeline.errors import Conflict, EncliiError, Permanent, Retryable

BACKOFF = (0.5, 2.0, 5.0, 15.0, 30.0, 60.0, 120.0)
OUTAGE_TRIES = 200
UNEXPECTED_TRIES = 5


@dataclass(frozen=True)
class Retry:
    """Try again after ``delay`` seconds."""

    delay: float


@dataclass(frozen=True)
class Park:
    """Put it aside for a person, with the reason."""

    reason: str
    message: str


def outcome(error: Exception, tries: int, *, jitter: float | None = None) -> Retry | Park:
    """Retry what may pass, park what will not; anything unexpected gets a few tries first.

    ``tries`` counts from 1. An outage of a store is retried for hours, since nothing is wrong with the message.
    """
    spread = 1 + 0.2 * (random.random() if jitter is None else jitter)  # noqa: S311 - no secret hangs on it
    delay = BACKOFF[min(tries, len(BACKOFF)) - 1] * spread
    match error:
        case Permanent():
            return Park(error.reason, error.message)
        case Conflict():
            return Retry(0.05 * min(tries, 20) * spread)
        case Retryable() if tries < OUTAGE_TRIES:
            return Retry(delay if error.delay is None else error.delay * spread)
        case EncliiError():
            return Park(error.reason, f"given up after {tries} tries: {error.message}")
        case _ if tries < UNEXPECTED_TRIES:
            return Retry(delay)
        case _:
            return Park("unexpected", f"{type(error).__name__} in {tries} tries; the log has the trace")
