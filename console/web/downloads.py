"""A log as a file: every line as it was printed, which a browser keeps and does not show."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import AsyncIterator
from typing import Final

from sse_starlette import ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from console import given
from console.service_logs import Choice
from pipeline.errors import EncliiError, Invalid

TAIL: Final = 300
WHOLE: Final = 10_000
_SPAN: Final = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_RELEASE: Final = re.compile(r"v?[0-9]{1,9}")


def answer(lines: AsyncIterator[ServerSentEvent], name: str) -> Response:
    """The lines as an attachment of that name, which is made of checked names."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return StreamingResponse(_bytes(lines), media_type="text/plain; charset=utf-8", headers=headers)


async def _bytes(lines: AsyncIterator[ServerSentEvent]) -> AsyncIterator[bytes]:
    """A line each, with its time and where it came from; what goes wrong in between is the last line."""
    try:
        async for event in lines:
            if event.event == "line":
                one = json.loads(event.data or "{}")
                parts = (one.get("time", ""), one.get("replica", ""), one["text"])
                yield (" ".join(filter(None, parts)) + "\n").encode("utf-8", "replace")
    except EncliiError as error:
        yield f"enclii: the log breaks off here: {error.message}\n".encode()


def choice(request: Request) -> Choice:
    """Which lines a page's form asks for: ``since`` and ``until`` are spans such as 10m or times. Raises Invalid."""
    release = request.query_params.get("release", "").strip()
    if release and not _RELEASE.fullmatch(release):
        raise Invalid("release: one such as v41", reason="bad_field")
    tail = WHOLE if request.url.path.endswith("/text") else TAIL
    return Choice(tail, _moment(request, "since"), _moment(request, "until"), release)


def _moment(request: Request, name: str) -> datetime.datetime | None:
    found = _SPAN.fullmatch(request.query_params.get(name, "").strip())
    if found is None:
        return given.moment(request, name)
    return datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=int(found[1]) * _UNITS[found[2]])
