"""The door of a forge that takes its token in a header: one request at a time, each once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import httpx2

from gitops.forge.door import Answer
from pipeline.errors import Refused, Unavailable

TIMEOUT: Final = 10.0
LONGEST: Final = 30.0


class RestDoor:
    """Requests below one address with the same headers; redirects are not followed, for they would carry the token."""

    def __init__(self, api: str, headers: Mapping[str, str]) -> None:
        self._client = httpx2.AsyncClient(base_url=api, headers=dict(headers), timeout=TIMEOUT)

    async def send(
        self, verb: str, path: str, body: Any = None, *, params: Mapping[str, str] | None = None, tag: str = ""
    ) -> Answer:
        """Send it once. Raises Unavailable when no answer came in time."""
        more = {"If-None-Match": tag} if tag else {}
        try:
            answer = await self._client.request(verb, path, json=body, params=dict(params or {}), headers=more)
        except httpx2.HTTPError as error:
            raise Unavailable(f"the forge did not answer: {type(error).__name__}", reason="forge_away") from None
        try:
            data = answer.json() if answer.content else None
        except ValueError:
            data = None
        return Answer(answer.status_code, {key.lower(): value for key, value in answer.headers.items()}, data)

    async def close(self) -> None:
        """Hang up."""
        await self._client.aclose()


async def post(address: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Send these bytes to exactly this address, once; the answer's body is not read, a redirect is not followed.

    Raises Unavailable when no answer came in time, Refused for what is no address; the address may be secret: untold.
    """
    try:
        async with (
            asyncio.timeout(LONGEST),
            httpx2.AsyncClient(timeout=TIMEOUT) as client,
            client.stream("POST", address, content=body, headers=dict(headers)) as answer,
        ):
            return Answer(answer.status_code, {key.lower(): value for key, value in answer.headers.items()})
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol):
        raise Refused("its url is no http address", reason="destination_unfit") from None
    except (httpx2.HTTPError, TimeoutError) as error:
        raise Unavailable(f"nobody answered: {type(error).__name__}", reason="destination_away") from None
