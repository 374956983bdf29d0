"""GitHub's API through PyGithub, one request at a time in a thread: the one module that knows the library.

PyGithub's own retries are off, on purpose. By default it repeats a POST that may have been heard, which is a second
comment, and sleeps to the end of a rate limit, which is longer than any acknowledgement waits. Who called tries again,
with the state read anew. Its pauses between requests are off too: what is said is coalesced before it comes here.
"""

from __future__ import annotations

import asyncio
import datetime
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import github
import requests
from github import Auth, Github

from gitops.forge.door import Answer, fine
from gitops.forge.github_events import PERMISSIONS
from pipeline.errors import Unavailable

if TYPE_CHECKING:
    from gitops.forge.credentials import Credential

TIMEOUT: Final = 10
LIMIT: Final = 30.0
EARLY: Final = 300.0


class GitHubDoor:
    """Requests with one authentication, one after the other."""

    def __init__(self, api: str, auth: Auth.Auth) -> None:
        self._requester = Github(
            auth=auth, base_url=api, timeout=TIMEOUT, retry=None, per_page=100, lazy=True, user_agent="enclii",
            seconds_between_requests=None, seconds_between_writes=None,
        ).requester  # fmt: skip
        self._turn = asyncio.Lock()  # the library keeps state for each request

    async def send(
        self, verb: str, path: str, body: Any = None, *, params: Mapping[str, str] | None = None, tag: str = ""
    ) -> Answer:
        """Send it once. Raises Unavailable when no answer came in time."""
        headers = {"If-None-Match": tag} if tag else {}
        async with self._turn:
            try:
                async with asyncio.timeout(LIMIT):
                    return await asyncio.to_thread(self._send, verb, path, body, dict(params or {}), headers)
            except (TimeoutError, requests.RequestException, github.GithubException, RuntimeError) as error:
                raise Unavailable(f"GitHub did not answer: {type(error).__name__}", reason="forge_away") from None

    def _send(self, verb: str, path: str, body: Any, params: dict[str, str], headers: dict[str, str]) -> Answer:
        status, said, text = self._requester.requestJson(verb, path, params, headers, body)
        return Answer(status, {str(key): str(value) for key, value in said.items()}, _data(str(text)))

    async def close(self) -> None:
        await asyncio.to_thread(self._requester.close)


class GitHubDoors:
    """The doors of one credential: the token's, or an App's with a token of its own for each repository."""

    def __init__(self, credential: Credential) -> None:
        self._credential = credential
        self._doors: dict[str, tuple[GitHubDoor, float]] = {}
        self._app: GitHubDoor | None = None

    async def of(self, number: str, name: str) -> GitHubDoor:
        """The door for one repository, by its number. Raises as ``fine`` does."""
        key = number if self._credential.app else ""
        door, ends = self._doors.get(key, (None, 0.0))
        if door is None or ends < _now():
            opened, ends = await self._opened(number, name)
            self._doors[key] = (opened, ends)
            return opened
        return door

    async def whole(self, name: str) -> GitHubDoor:
        """A door that only reads what a repository is called: by its name, as long as its number is not known."""
        return (await self._opened("", name))[0]

    async def _opened(self, number: str, name: str) -> tuple[GitHubDoor, float]:
        if self._credential.app is None:
            return GitHubDoor(self._credential.api, Auth.Token(self._credential.token)), float("inf")
        installation = fine(await self.app().send("GET", f"/repos/{name}/installation"), "the App's installation")
        if number:
            asked = {"repository_ids": [int(number)], "permissions": self._granted(installation)}
        else:
            asked = {"repositories": [name.rpartition("/")[2]], "permissions": {"metadata": "read"}}
        path = f"/app/installations/{installation['id']}/access_tokens"
        made = fine(await self.app().send("POST", path, asked), "a token for one repository")
        ends = datetime.datetime.fromisoformat(made["expires_at"]).timestamp() - EARLY
        return GitHubDoor(self._credential.api, Auth.Token(made["token"])), ends

    @staticmethod
    def _granted(installation: Mapping[str, Any]) -> dict[str, str]:
        """What we ask for, as far as the installation has it: asking for more would refuse the whole token."""
        has = installation.get("permissions") or {}
        return {name: level for name, level in PERMISSIONS.items() if has.get(name) in (level, "write")}

    def app(self) -> GitHubDoor:
        """The door of the App itself, which tells of installations and deliveries."""
        app = self._credential.app
        assert app is not None
        if self._app is None:
            auth = Auth.AppAuth(app.id, app.key)
            self._app = GitHubDoor(self._credential.api, auth)
        return self._app

    def forget(self, number: str) -> None:
        """Open that repository's door anew next time: its token was refused."""
        self._doors.pop(number if self._credential.app else "", None)


def _data(text: str) -> Any:
    """The JSON of an answer; None for a page that something in between made."""
    try:
        return json.loads(text) if text else None
    except ValueError:
        return None


def _now() -> float:
    return datetime.datetime.now(datetime.UTC).timestamp()
