"""HTTP as a registry client needs it: a deadline and a few retries, logins, redirects, and bodies with a limit.

What went wrong leaves here as one of Enclii's errors; an address is never quoted, because those of uploads and of
token services carry what must not be told.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

import tenacity

from pipeline import images
from pipeline.address import Address, OtherScheme
from pipeline.errors import Invalid, Refused, Unavailable
from pipeline.http1 import ERROR_LIMIT, HttpError, Pool, TooLarge
from pipeline.registry_login import Access, Account, Credentials, Login

REDIRECTS = 3
PATIENCE = 2.0
"""Seconds that are worth waiting here; a longer Retry-After is the worker's business."""

TRIES = 3
FIRST_WAIT = 0.1
ALWAYS = {"Accept-Encoding": "identity", "Connection": "keep-alive", "User-Agent": "enclii"}

_BUSY = frozenset({408, 429})

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Answer:
    """One response, read whole."""

    status: int
    headers: Mapping[str, str]
    """Names in small letters."""
    body: bytes
    address: Address

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip()


class Transport:
    """One pool of connections to one registry."""

    def __init__(
        self, host: str, *, plain_http: bool, credentials: Credentials | Account | None, timeout: float
    ) -> None:
        self.host = images.registry_host(host)
        self._base = Address.parse(f"{'http' if plain_http else 'https'}://{self.host}")
        self._plain_http = plain_http
        self._timeout = timeout
        self._login = Login(credentials, plain_http=plain_http, ask=self._ask_for_token)
        # Without any authority in it, a plain-HTTP client trusts no TLS server; and loading them takes 20 ms.
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if plain_http else ssl.create_default_context()
        self._pool = Pool(tls=tls, seconds=timeout / 3)

    async def close(self) -> None:
        await self._pool.close()

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
        target: str | Address,
        access: Access,
        *,
        accept: str = "*/*",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        limit: int = ERROR_LIMIT,
    ) -> Answer:
        """One request with its login and, for a read, the redirects that follow."""
        url = target if isinstance(target, Address) else replace(self._base, target=target)
        headers = {"Accept": accept, **(headers or {})}
        answer = await self._authorised(method, url, access, headers, body, limit)
        for _ in range(REDIRECTS):
            if answer.status not in (301, 302, 303, 307, 308) or method not in ("GET", "HEAD"):
                break
            url = self.allowed(answer.address, answer.headers.get("location", ""))
            answer = await self._authorised(method, url, access, headers, body, limit)
        return answer

    async def _authorised(
        self, method: str, url: Address, access: Access, headers: Mapping[str, str], body: bytes | None, limit: int
    ) -> Answer:
        if url.origin != self._base.origin:
            return await self._once(method, url, headers, body, limit)  # a stranger's host never sees the login
        used = self._login.header(access)
        answer = await self._once(method, url, {**headers, **used}, body, limit)
        if answer.status == 401:
            await self._login.learn(answer.headers.get("www-authenticate", ""), access, used=used)
            answer = await self._once(method, url, {**headers, **self._login.header(access)}, body, limit)
        return answer

    async def _once(
        self, method: str, url: Address, headers: Mapping[str, str], body: bytes | None, limit: int
    ) -> Answer:
        try:
            reply = await self._pool.ask(method, url, {**ALWAYS, **headers}, body, limit=limit)
        except TooLarge as error:
            raise Invalid(f"the registry's answer has {error}", reason="too_large") from None
        except HttpError as error:
            name = type(error).__name__
            raise Unavailable(f"registry {self.host} does not answer: {name}", reason="registry_unreachable") from None
        return Answer(reply.status, reply.headers, reply.body, url)

    async def _ask_for_token(self, url: str, headers: Mapping[str, str], form: bytes | None) -> bytes:
        method = "GET" if form is None else "POST"
        answer = not_broken(await self._once(method, _address(url), headers, form, ERROR_LIMIT))
        if answer.status != 200:
            raise Refused("the registry's token service refuses this login", reason="registry_unauthorized")
        return answer.body

    def upload_url(self, answer: Answer) -> Address:
        location = answer.headers.get("location", "")
        if not location:
            raise Unavailable("the registry began an upload without a place for it", reason="registry_lied")
        return self.allowed(answer.address, location)

    def allowed(self, base: Address, location: str) -> Address:
        """Where the registry sends us, unless that would give up TLS."""
        try:
            url = base.joined(location)
        except OtherScheme:
            raise Refused("the registry points to an address that is not http", reason="registry_downgrade") from None
        except ValueError:
            raise Unavailable("the registry points to an address that is none", reason="registry_lied") from None
        if url.scheme != "https" and not (self._plain_http and url.scheme == "http"):
            raise Refused("the registry points to an address without TLS", reason="registry_downgrade")
        return url


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


def _address(text: str) -> Address:
    try:
        return Address.parse(text)
    except ValueError:
        raise Unavailable("the registry names a token service that has no address", reason="registry_lied") from None


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
    value = answer.headers.get("retry-after", "")
    return min(float(value), 3600.0) if value.isdecimal() else None


def _worth_it(error: BaseException) -> bool:
    return isinstance(error, Unavailable) and error.reason != "registry_lied" and (error.delay or 0) <= PATIENCE


def _wait(state: tenacity.RetryCallState) -> float:
    """As long as the registry says, else a random time that grows."""
    error = state.outcome.exception() if state.outcome else None
    told = error.delay if isinstance(error, Unavailable) else None
    return told if told is not None else tenacity.wait_random_exponential(0.1, 1.0)(state)
