"""HTTP as a registry client needs it: a deadline and a few retries, logins, and redirects.

What went wrong leaves here as one of Enclii's errors; an address is never quoted, because those of uploads and of
token services carry what must not be told.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from email.utils import parsedate_to_datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import tenacity

from pipeline import images
from pipeline.errors import Invalid, Refused, Unavailable
from pipeline.registry_login import Access, Account, Credentials, Login

if TYPE_CHECKING:
    from pipeline.registry_connections import URL, Answer, Connections

REDIRECTS = 3
PATIENCE = 2.0
"""Seconds that are worth waiting here; a longer Retry-After is the worker's business."""

LONGEST_DELAY = 3600.0
TRIES = 3
FIRST_WAIT = 0.1
SMALL = 4 << 20
"""Bytes of an answer whose size nobody announced."""

_BUSY = frozenset({408, 429})

T = TypeVar("T")
U = TypeVar("U")


class Transport:
    """One pool of connections to one registry."""

    def __init__(
        self, host: str, *, plain_http: bool, credentials: Credentials | Account | None, timeout: float
    ) -> None:
        self.host = images.registry_host(host)
        self._plain_http = plain_http
        self._timeout = timeout
        self._login = Login(credentials, plain_http=plain_http, ask=self._ask_for_token)

    @cached_property
    def _connections(self) -> Connections:
        """From the first request on: the library takes six megabytes, and most processes ask a registry for nothing."""
        from pipeline.registry_connections import Connections

        return Connections(self.host, plain_http=self._plain_http, seconds=self._timeout / 3)

    async def close(self) -> None:
        if "_connections" in self.__dict__:
            await self._connections.close()

    async def patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """``call``, again while a second or two may help, all within the deadline."""
        try:
            async with asyncio.timeout(self._timeout):
                try:
                    return await call()  # as it mostly goes: what tries again costs more than the request
                except Unavailable as error:
                    if not _worth_it(error):
                        raise
                    await asyncio.sleep(random.uniform(0, FIRST_WAIT) if error.delay is None else error.delay)  # noqa: S311
                return await self._again()(call)
        except TimeoutError:
            raise Unavailable(
                f"registry {self.host} did not answer within {self._timeout:g} s", reason="registry_timeout"
            ) from None

    @staticmethod
    def _again() -> tenacity.AsyncRetrying:
        return tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(TRIES - 1),
            wait=_wait,
            retry=tenacity.retry_if_exception(_worth_it),
            reraise=True,
        )

    async def request(
        self,
        method: str,
        target: str | URL,
        access: Access,
        *,
        accept: str = "*/*",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        limit: int = SMALL,
    ) -> Answer:
        """One request with its login and, for a read, the redirects that follow; to be made within ``patiently``."""
        url = self._connections.own(target) if isinstance(target, str) else target
        headers = {"Accept": accept, **(headers or {})}
        answer = await self._authorised(method, url, access, headers, body, limit)
        for _ in range(REDIRECTS):
            if answer.status not in (301, 302, 303, 307, 308) or method not in ("GET", "HEAD"):
                break
            url = self.allowed(answer.url, answer.headers.get("location", ""))
            answer = await self._authorised(method, url, access, headers, body, limit)
        return answer

    async def _authorised(
        self, method: str, url: URL, access: Access, headers: Mapping[str, str], body: bytes | None, limit: int
    ) -> Answer:
        ask = self._connections.ask
        if not self._connections.is_own(url):
            return await ask(method, url, headers, body, limit=limit)  # a stranger's host never sees the login
        used = self._login.header(access)
        answer = await ask(method, url, {**headers, **used}, body, limit=limit)
        if answer.status == 401:
            await self._login.learn(answer.headers.get("www-authenticate", ""), access, used=used)
            answer = await ask(method, url, {**headers, **self._login.header(access)}, body, limit=limit)
        return answer

    async def _ask_for_token(self, url: str, headers: Mapping[str, str], form: bytes | None) -> bytes:
        method = "GET" if form is None else "POST"
        address = self._connections.token_service(url)
        ask = partial(self._connections.ask, method, address, headers, form, limit=SMALL)
        try:
            answer = await ask()
        except Unavailable:  # where the service is beside the registry, a refusal may just have ended the connection
            answer = await ask()
        not_broken(answer)
        if answer.status != 200:
            raise Refused("the registry's token service refuses this login", reason="registry_unauthorized")
        return answer.body

    def upload_url(self, answer: Answer, parameter: str = "") -> URL:
        """Where the upload that ``answer`` began goes on, asked with one ``parameter`` more."""
        location = answer.headers.get("location", "")
        if not location:
            raise Unavailable("the registry began an upload without a place for it", reason="registry_lied")
        return self._connections.asking(self.allowed(answer.url, location), parameter)

    def allowed(self, base: URL, location: str) -> URL:
        """Where the registry sends us, unless that would give up TLS."""
        return self._connections.allowed(base, location)


async def together(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of all ``calls``, made at once; when one fails the others are ended before its error is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None
    return [task.result() for task in tasks]


async def both(one: Coroutine[Any, Any, T], other: Coroutine[Any, Any, U]) -> tuple[T, U]:
    """As ``together``, for two that answer with different things."""
    return cast(tuple[T, U], tuple(await together((one, other))))


def not_broken(answer: Answer) -> Answer:
    """Raises Unavailable for what may be otherwise later: 5xx, 408 and 429."""
    if answer.status in _BUSY or (answer.status >= 500 and answer.status != 501):
        raise Unavailable(
            f"the registry answered {answer.status}",
            reason="registry_busy" if answer.status in _BUSY else "registry_failing",
            delay=_retry_after(answer),
        )
    return answer


def succeeded(answer: Answer, *expected: int) -> None:
    """Raises what the status means unless it is one of ``expected``."""
    if answer.status in expected:
        return
    not_broken(answer)
    if answer.status == 401:
        raise Refused("the registry does not accept this login", reason="registry_unauthorized")
    if answer.status == 403:
        raise Refused("the registry forbids this", reason="registry_forbidden")
    raise Invalid(f"the registry answered {answer.status} {_code(answer)}".rstrip(), reason="registry_rejected")


def stored(answer: Answer) -> None:
    """As ``succeeded``, for content whose digest was computed here: a registry was seen to call it invalid while
    somebody else stored the same blob again, and to take it a moment later."""
    if answer.status == 400 and _code(answer) == "DIGEST_INVALID":
        raise Unavailable("the registry is writing the same content", reason="registry_busy")
    succeeded(answer, 201)


def _code(answer: Answer) -> str:
    """The registry's own error code, which is a word; its messages may quote anything and are left out."""
    try:
        code = str(json.loads(answer.body)["errors"][0]["code"])
    except (ValueError, LookupError, TypeError):
        return ""
    return code if code.isascii() and code.replace("_", "").isalpha() and len(code) < 60 else ""


def _retry_after(answer: Answer) -> float | None:
    """Seconds, which the header gives as such or as a date; None for anything else."""
    value = answer.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdecimal():
        return min(float(value[:9]), LONGEST_DELAY)
    try:
        left = parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(left, 0.0), LONGEST_DELAY)


def _worth_it(error: BaseException) -> bool:
    return isinstance(error, Unavailable) and error.reason != "registry_lied" and (error.delay or 0) <= PATIENCE


def _wait(state: tenacity.RetryCallState) -> float:
    """As long as the registry says, else a random time that grows."""
    error = state.outcome.exception() if state.outcome else None
    told = error.delay if isinstance(error, Unavailable) else None
    return told if told is not None else tenacity.wait_random_exponential(0.1, 1.0)(state)
