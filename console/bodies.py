"""Request bodies and the answer to a command, which every part of the API reads and gives alike."""

from __future__ import annotations

import json
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from pipeline.errors import Invalid

BODY_LIMIT: Final = 64 << 10


def accepted(command: str, **more: Any) -> Response:
    """The answer to a command that was published."""
    return JSONResponse({"command": command, **more}, 202, headers={"Location": f"/v1/commands/{command}"})


async def read_body(request: Request) -> dict[str, Any]:
    """The JSON object in the body. Raises Invalid, HTTPException."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "application/json is what is understood here")
    return parsed(await read_bytes(request))


def parsed(data: bytes) -> dict[str, Any]:
    """The JSON object that ``data`` is. Raises Invalid."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Invalid("the body is not JSON", reason="bad_json") from error
    if not isinstance(body, dict):
        raise Invalid("the body is not a JSON object", reason="bad_json")
    return body


async def read_bytes(request: Request) -> bytes:
    """The whole body. Raises HTTPException when it is too large."""
    found = bytearray()
    async for chunk in request.stream():
        found += chunk
        if len(found) > BODY_LIMIT:
            raise HTTPException(413, "the body is larger than 64 KiB")
    return bytes(found)
