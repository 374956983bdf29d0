"""Connections to a registry, by aiohttp: kept, limited in number, each answer limited in size.

Of that library's client nothing is used but how HTTP is spoken: no cookies, no redirects, no logins out of addresses.
Nothing is sent twice here: what may be repeated, and how often, is for the caller to say.
"""

from __future__ import annotations

import io
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import aiohttp
from yarl import URL

from pipeline.errors import Invalid, Refused, Unavailable

__all__ = ["URL", "Answer", "Connections"]

ERROR_LIMIT = 4 << 20
"""Bytes of an answer that is no success."""
IN_ONE = 1 << 16
"""Bytes of a body that is written at once."""
MOST = 16
"""Connections at once; further requests wait for one."""
KEPT = 30.0
"""Seconds for which an idle connection is used again."""

_ALWAYS = {"Accept-Encoding": "identity", "User-Agent": "enclii"}


@dataclass(frozen=True)
class Answer:
    """One response, read whole."""

    status: int
    headers: Mapping[str, str]
    """By names in small letters; repeated ones are joined by commas."""
    body: bytes
    url: URL

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip()


class Connections:
    """``seconds`` bounds each silence of a peer; how long all of it may take is the caller's deadline."""

    def __init__(self, host: str, *, plain_http: bool, seconds: float) -> None:
        self._host, self._plain_http, self._seconds = host, plain_http, seconds
        self._base = f"{'http' if plain_http else 'https'}://{host}"
        self._origin = _origin(URL(self._base))

    @cached_property
    def _session(self) -> aiohttp.ClientSession:
        """From the first request on: it belongs to the loop that runs then."""
        # Without any authority in it, a plain-HTTP client trusts no TLS server; and loading them takes 20 ms.
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if self._plain_http else ssl.create_default_context()
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=MOST, keepalive_timeout=KEPT, ssl=tls),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._seconds, sock_read=self._seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers=_ALWAYS,
            middlewares=[self._once],
        )

    async def close(self) -> None:
        if "_session" in self.__dict__:
            await self._session.close()

    def own(self, target: str) -> URL:
        """The registry's address for a path that was made here."""
        return URL(self._base + target, encoded=True)

    def is_own(self, url: URL) -> bool:
        return _origin(url) == self._origin

    def token_service(self, text: str) -> URL:
        """The address that a challenge names. Raises Unavailable when it is none."""
        try:
            return _usable(_written(text))
        except ValueError:
            text = "the registry names a token service that has no address"
            raise Unavailable(text, reason="registry_lied") from None

    def allowed(self, base: URL, location: str) -> URL:
        """Where the registry sends us from ``base``. Raises Refused where that would give up TLS, Unavailable for what
        is no address, or holds a login."""
        try:
            url = _usable(base.join(_written(location)))
        except ValueError:
            raise Unavailable("the registry points to an address that is none", reason="registry_lied") from None
        if url.scheme not in ("http", "https"):
            raise Refused("the registry points to an address that is not http", reason="registry_downgrade")
        if url.scheme == "http" and not self._plain_http:
            raise Refused("the registry points to an address without TLS", reason="registry_downgrade")
        return url

    @staticmethod
    def asking(url: URL, parameter: str) -> URL:
        """The same address with one parameter more; what the registry put into it stays as it was written."""
        if not parameter:
            return url
        return URL(f"{url}{'&' if url.raw_query_string else '?'}{parameter}", encoded=True)

    async def ask(self, method: str, url: URL, headers: Mapping[str, str], body: bytes | None, *, limit: int) -> Answer:
        """Send one request, once, and read its answer, of a success at most ``limit`` bytes.

        Raises Unavailable, and Invalid for an answer that is too large.
        """
        try:
            async with self._session.request(
                method, url, headers=headers, data=_sent(body), allow_redirects=False
            ) as answer:
                most = limit if answer.ok else ERROR_LIMIT
                content = await _read(answer, most)
                return Answer(answer.status, _joined(answer.headers.items()), content, url)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(error) from None

    async def _once(self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        """What went wrong is told in our words before the library sees it, which would send some requests again."""
        try:
            return await handler(request)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(error) from None

    def _unreachable(self, error: Exception) -> Unavailable:
        name = type(error).__name__
        return Unavailable(f"registry {self._host} does not answer: {name}", reason="registry_unreachable")


def _sent(body: bytes | None) -> bytes | io.BytesIO | None:
    """A large body goes out in pieces, so that others have their turn between them."""
    return io.BytesIO(body) if body is not None and len(body) > IN_ONE else body


async def _read(answer: aiohttp.ClientResponse, most: int) -> bytes:
    parts, size = [], 0
    async for part in answer.content.iter_any():
        size += len(part)
        if size > most:
            answer.close()  # what is left of it is not waited for
            raise Invalid(f"the registry's answer has more than {most} bytes", reason="too_large")
        parts.append(part)
    return b"".join(parts)


def _joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in headers:
        name = name.lower()
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _written(text: str) -> URL:
    """An address exactly as it was written: what is quoted in it is the registry's business. Raises ValueError."""
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError("an address has no such characters")
    return URL(text, encoded=True)


def _usable(url: URL) -> URL:
    """Raises ValueError for an address without a host, with a port that is none, or with a login in it."""
    if url.raw_user is not None or url.raw_password is not None or not url.raw_host or url.port == 0:
        raise ValueError("not an address to ask at")
    return url.with_fragment(None)


def _origin(url: URL) -> tuple[str, str, int | None]:
    return url.scheme, (url.raw_host or "").lower(), url.port
