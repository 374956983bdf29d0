"""What forges were told: so that nothing is told twice, and what changed replaces what was said before."""

from __future__ import annotations

from typing import ClassVar, Final

from pipeline.record import Record

GAP: Final = ("forges", "gap")
"""What no webhook told, when that last happened."""
APP_HEALTH: Final = ("github", "health")
"""What our GitHub App lacks, when that was last asked."""


class Answer(Record, frozen=True, kw_only=True):
    """The newest thing that was told under one subject of a repository; ``problem`` when it could not be told."""

    kind: ClassVar[str] = "answer"
    repository: str  # by number
    about: str  # "comment/12", "check/<sha>/<name>", "environment/<deployment>"
    said: str = ""  # hash of what was told
    remote: str = ""  # the forge's id of it
    since: str = ""  # when what it is about began: what is older does not replace it
    problem: str = ""
    at: str = ""

    @property
    def key(self) -> tuple[str, ...]:
        return (self.repository, self.about)
