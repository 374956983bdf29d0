"""One HTTP answer of a forge, and what a bad one means: worth another try and when, or not."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol

from pipeline.errors import Invalid, NotFound, Refused, Unavailable

LONGEST = 900.0
_NEXT = re.compile(r'<([^<>]+)>;\s*rel="next"')


@dataclass(frozen=True)
class Answer:
    """Status, headers with lower-case names, and the JSON body (None for none)."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    data: Any = None

    @property
    def following(self) -> str:
        """The address of the next page; "" on the last one."""
        found = _NEXT.search(self.headers.get("link", ""))
        return found[1] if found else ""


class Door(Protocol):
    """Sends one request, once. Raises Unavailable when no answer came; every answer is returned."""

    async def send(
        self, verb: str, path: str, body: Any = None, *, params: Mapping[str, str] | None = None, tag: str = ""
    ) -> Answer: ...


def fine(answer: Answer, what: str) -> Any:
    """The body of a good answer. Raises what a bad one means; nothing of the body is repeated."""
    if answer.status < 400:
        return answer.data
    return refuse(answer, what)


def refuse(answer: Answer, what: str) -> NoReturn:
    """Raise what the answer means."""
    status = answer.status
    if status == 401:
        raise Refused(f"{what}: the forge does not know this credential", reason="forge_unauthorised")
    if status == 429 or (status == 403 and limited(answer)):
        raise Unavailable(f"{what}: the forge asks for patience", reason="forge_limited", delay=wait(answer))
    if status == 403:
        raise Refused(f"{what}: the credential lacks this permission", reason="forge_forbidden")
    if status in (404, 410):
        raise NotFound(f"{what}: the forge has no such thing, or does not show it", reason="forge_unknown")
    if status >= 500:
        raise Unavailable(f"{what}: the forge answered {status}", reason="forge_away")
    raise Invalid(f"{what}: the forge answered {status}", reason="forge_refused")


def limited(answer: Answer) -> bool:
    """True when a 403 is no missing right but too many requests, of the hour's or of the moment's."""
    message = str((answer.data or {}).get("message", "")).lower() if isinstance(answer.data, dict) else ""
    headers = answer.headers
    return "retry-after" in headers or headers.get("x-ratelimit-remaining") == "0" or "rate limit" in message


def wait(answer: Answer) -> float:
    """Seconds until the forge wants to hear from us again, as its headers say."""
    after = answer.headers.get("retry-after", "")
    if after.isdigit():
        return min(float(after), LONGEST)
    reset = answer.headers.get("x-ratelimit-reset") or answer.headers.get("ratelimit-reset") or ""
    if answer.headers.get("x-ratelimit-remaining", "0") == "0" and reset.isdigit():
        return min(max(1.0, int(reset) - time.time() + 1.0), LONGEST)
    return 60.0  # what GitHub asks for after a secondary limit that names no time
