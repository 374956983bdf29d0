"""Every way in which Enclii fails, as one tree; the worker, the API and the CLI decide by class alone.

    EncliiError
    ├── Retryable            worth another try, after ``delay`` seconds
    │   ├── Unavailable      something outside does not answer, or not yet
    │   └── Conflict         somebody else wrote first: read again, decide again
    └── Permanent            the same input will fail the same way for ever
        ├── Invalid          input that breaks a rule; the text names the place
        ├── NotFound         a name or id that nothing answers to
        ├── Refused          policy, order or a hold said no
        │   └── Denied       who asks has no role that may
        └── Superseded       newer work made this one pointless

``reason`` is a stable snake_case code for machines, the message is for people. Neither ever holds a secret.
"""

from __future__ import annotations


class EncliiError(Exception):
    """Root of the tree; raised only through its subclasses."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason


class Retryable(EncliiError):
    """Worth another try; ``delay`` in seconds, None for the worker's own back-off."""

    def __init__(self, message: str, *, reason: str, delay: float | None = None) -> None:
        super().__init__(message, reason=reason)
        self.delay = delay


class Unavailable(Retryable):
    """A store, a registry, a remote or the cluster does not answer."""


class Conflict(Retryable):
    """A compare-and-set lost: the state that was read is no longer the state."""


class Permanent(EncliiError):
    """No try will change the result."""


class Invalid(Permanent):
    """Input breaks a rule; the message names the file, line or field."""


class NotFound(Permanent):
    """Nothing has that name or id."""


class Refused(Permanent):
    """A check said no, or could not be made: signature, policy, order, hold, role."""


class Denied(Refused):
    """Who asks has no role that may; the message names the role that is needed."""


class Superseded(Permanent):
    """Newer work replaced this one."""
