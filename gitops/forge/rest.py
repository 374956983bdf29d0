"""The door of a forge that takes its token in a header: one request at a time, each once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import httpx2

from gitops.forge.door import Answer
from pipeline.errors import Unavailable

TIMEOUT: Final = 10.0


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

    async def post(self, body: bytes) -> Answer:
        """Send these bytes to the address itself, once. Raises Unavailable when no answer came in time."""
        try:
            answer = await self._client.post("", content=body)
        except httpx2.HTTPError as error:
            raise Unavailable(f"nobody answered: {type(error).__name__}", reason="destination_away") from None
        return Answer(answer.status_code, {key.lower(): value for key, value in answer.headers.items()})

    async def close(self) -> None:
        """Hang up."""
        await self._client.aclose()
