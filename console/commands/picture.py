"""What a terminal shows of something that goes on: drawn anew at each refresh, so that ages and seconds go on too."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text


class Picture:
    """Text by the time of drawing."""

    def __init__(self, now: Callable[[], datetime.datetime]) -> None:
        self._now = now
        self._text: Callable[[datetime.datetime], str] = lambda _: ""

    def show(self, text: Callable[[datetime.datetime], str]) -> None:
        """Draw this from now on."""
        self._text = text

    def __rich__(self) -> Text:
        from rich.text import Text

        return Text(self._text(self._now()), no_wrap=True, overflow="ellipsis")
