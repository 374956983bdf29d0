"""The signed word to a sync tool that the config branch moved.

It is a hint: it says no more than "look again", so a lost one costs a poll of the tool's own, and nothing waits for it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx2

from gitops.wiring import Source
from pipeline.errors import EncliiError, Refused, Unavailable
from pipeline.parsing import Secret

log = logging.getLogger(__name__)

AT_ONCE = 4
TRIES = 4
FIRST_PAUSE = 0.2
TRY_LIMIT = 3.0
LIMIT = 15.0


@dataclass(frozen=True)
class Signed:
    """One request, ready to be sent; the signature covers the body."""

    body: bytes
    headers: Mapping[str, str]


def argocd(source: Source, revision: str, paths: Sequence[str], key: Secret) -> Signed:
    """A push event as GitHub sends it.

    ``before`` is left out on purpose: with it Argo CD would keep, for every directory that is not named here, the
    manifests of the old commit under the new one, and a group of commits is not told in one hint.
    """
    event = {
        "ref": f"refs/heads/{source.branch}",
        "after": revision,
        "repository": {"html_url": page_of(source.url), "default_branch": source.branch},
        "commits": [{"id": revision, "added": [], "modified": sorted(paths), "removed": []}],
    }
    body = json.dumps(event).encode()
    return Signed(body, {"X-GitHub-Event": "push", "X-Hub-Signature-256": signature(body, key)})


def flux(source: Source, revision: str, key: Secret) -> Signed:
    """What a Receiver of the type generic-hmac believes; it reads nothing but the signature."""
    body = json.dumps({"ref": f"refs/heads/{source.branch}", "after": revision}).encode()
    return Signed(body, {"X-Signature": signature(body, key)})


def signature(body: bytes, key: Secret) -> str:
    """HMAC-SHA-256 in the form that forges write it."""
    return f"sha256={hmac.new(key.reveal().encode(), body, hashlib.sha256).hexdigest()}"


def page_of(url: str) -> str:
    """The repository's web page, by which Argo CD finds the Applications: no login, no ``.git``."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path.removesuffix("/").removesuffix(".git"), "", ""))


async def key_from(path: Path) -> Secret:
    """The shared secret; read each time, so that a new one counts at once. Raises Refused."""
    try:
        return Secret((await asyncio.to_thread(path.read_text)).strip())
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(
            f"the webhook's secret cannot be read from its file: {type(error).__name__}", reason="webhook_secret"
        ) from None


async def post(url: str, signed: Signed) -> None:
    """Send it, again while that may help. Raises Unavailable, Refused; neither quotes the address or the body."""
    pause = FIRST_PAUSE
    async with asyncio.timeout(LIMIT), _client(url) as client:
        for left in reversed(range(TRIES)):
            try:
                await _once(client, url, signed)
            except Unavailable:
                if not left:
                    raise
                await asyncio.sleep(pause)
                pause *= 3
            else:
                return


def _client(url: str) -> httpx2.AsyncClient:
    plain = url.startswith("http://")
    verify = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if plain else ssl.create_default_context()
    return httpx2.AsyncClient(timeout=TRY_LIMIT, verify=verify, trust_env=False, headers={"User-Agent": "enclii"})


async def _once(client: httpx2.AsyncClient, url: str, signed: Signed) -> None:
    headers = {"Content-Type": "application/json", **signed.headers}
    try:
        answer = await client.post(url, content=signed.body, headers=headers)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise Unavailable(
            f"the sync tool's webhook does not answer: {type(error).__name__}", reason="webhook_away"
        ) from None
    if answer.status_code in (408, 429) or answer.status_code >= 500:
        raise Unavailable(f"the sync tool's webhook answered {answer.status_code}", reason="webhook_away")
    if answer.status_code >= 300:
        raise Refused(
            f"the sync tool's webhook answered {answer.status_code}: compare its secret and its address with those"
            " in clusters.yaml; until then the tool's own poll finds each commit",
            reason="webhook_refused",
        )


Send = Callable[[str, Sequence[str]], Awaitable[None]]
"""Tells one revision with the files that moved."""


@dataclass
class Hints:
    """Tells without being waited for: a few at once, and what comes meanwhile is told as one."""

    send: Send
    problem: EncliiError | None = None
    """Why the last hint did not arrive; ``doctor`` shows it."""
    _waiting: dict[str, None] = field(default_factory=dict)
    _revision: str = ""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def tell(self, revision: str, paths: Sequence[str]) -> None:
        """Remember to say that ``paths`` moved; returns at once."""
        self._waiting.update(dict.fromkeys(paths))
        self._revision = revision
        if len(self._tasks) < AT_ONCE:
            task = asyncio.ensure_future(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def settled(self) -> None:
        """Return once nothing is waiting or on its way."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def _work(self) -> None:
        while self._waiting:
            paths, self._waiting = list(self._waiting), {}
            try:
                await self.send(self._revision, paths)
                self.problem = None
            except TimeoutError:
                self._failed(Unavailable("the sync tool's webhook did not answer in time", reason="webhook_away"))
            except EncliiError as error:
                self._failed(error)

    def _failed(self, error: EncliiError) -> None:
        self.problem = error
        log.warning("the hint was lost, the sync tool's own poll will find the commit: %s", error)
