"""What people and forges ask for previews, and what became of them.

``preview.requested`` is answered by a decision under its id; the preview itself is the record ``previews.Preview``.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pipeline.event import Event

PreviewVerb = Literal["up", "down", "extend", "restart", "approve", "push", "wake", "sweep"]
"""``push``: the branch has another head; ``wake``: a request came; ``sweep``: look whether its time is over."""
PreviewFact = Literal[
    "created", "waiting", "building", "ready", "failed", "warned", "asleep", "woken", "expired", "removing", "removed"
]


class PreviewRequested(Event, frozen=True, kw_only=True):
    """Somebody who may do it asks for a preview's beginning, change or end. ``id`` = the comment's or the caller's.

    A preview is named by ``repository`` with ``number`` (a pull request) or ``branch``.
    """

    type: ClassVar[str] = "preview.requested"
    verb: PreviewVerb
    project: str
    repository: str
    number: int = 0
    branch: str = ""
    services: tuple[str, ...] = ()  # only these; none: all that may be previewed
    sha: str = ""  # the head that was seen; for ``approve`` the full commit that was read
    seconds: float = 0.0  # ``extend``: so much longer; ``up``: the idle time to live; 0: as configured
    actor: str = ""
    role: str = ""  # the actor's role when it was asked for, for the record
    why: str = ""


class PreviewChanged(Event, frozen=True, kw_only=True):
    """A preview came into another state. ``id`` = preview/time/fact."""

    type: ClassVar[str] = "preview.changed"
    fact: PreviewFact
    preview: str
    project: str
    environment: str
    repository: str
    number: int = 0
    branch: str = ""
    sha: str = ""
    reason: str = ""
    message: str = ""
