"""The CLI's side of the API over the standard library's HTTP: requests with a deadline, and events that resume.

What an answer says went wrong becomes a ``Failure``, which carries the exit code; an API that does not answer too.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode, urlsplit

if TYPE_CHECKING:
    import http.client

FAILED: Final = 1
USAGE: Final = 2
TIMED_OUT: Final = 3
NOT_LOGGED_IN: Final = 4
NOT_FOUND: Final = 5
REFUSED: Final = 6
STILL_OLD: Final = 7
INTERRUPTED: Final = 130

CONNECT_LIMIT: Final = 3.0
ANSWER_LIMIT: Final = 40.0
RECONNECTIONS: Final = 8
LONGEST_PAUSE: Final = 3.0
RESTART_LIMIT: Final = 20.0
AGAIN: Final = 0.2
"""Seconds between two looks whether a server has started again."""
START: Final = "enclii up -d"
ELSEWHERE: Final = (
    "it is not on this machine: check the address (--server, ENCLII_SERVER or enclii login gave it) and the network, "
    "or ask who runs it"
)
BROKEN: Final = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError)
"""How a connection ends that somebody had accepted; a peer that closes it without an answer is the first of them."""
Query = Mapping[str, Any]  # strings, whole numbers, booleans; what is empty is not sent


class Failure(Exception):
    """What failed, why as a code, what is live, what to do next, and the exit code that says the same to a program."""

    def __init__(self, message: str, *, reason: str, exit_code: int = FAILED, live: str = "", advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.exit_code = exit_code
        self.live = live
        self.advice = advice


@dataclass(frozen=True)
class ServerEvent:
    """One event of a stream."""

    kind: str
    data: Any
    id: str


def path(*parts: str) -> str:
    """An address below ``/v1`` of which every part is quoted whole."""
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


class Client:
    """Talks to one server with one token. Every call raises Failure."""

    def __init__(
        self, server: str, token: str, *, limit: float = ANSWER_LIMIT, told: Callable[[str], None] | None = None,
        restarts: Callable[[], bool] = lambda: False,
    ) -> None:  # fmt: skip
        """``limit`` is the seconds that an answer may take; ``told`` hears of each request and how it ended;
        ``restarts`` says whether somebody starts the server again that is not there.
        """
        parts = urlsplit(server)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise Failure(f"{server!r} is not an http(s) address", reason="bad_server", exit_code=USAGE)
        self.server = server.rstrip("/")
        self._secure = parts.scheme == "https"
        self._host = parts.hostname
        self._port = _port(server)
        self._prefix = parts.path.rstrip("/")
        self._token = token
        self._limit = limit
        self._told = told
        self._restarts = restarts

    def get(self, address: str, query: Query | None = None) -> Any:
        """The JSON at an address."""
        patience = self._limit + float((query or {}).get("wait") or 0)
        with _Closing(self._ask("GET", _with_query(address, query), patience=patience)) as answer:
            return _json(answer)

    def call(
        self, method: str, address: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> str:
        """The text of any answer; for ``enclii api``."""
        with _Closing(self._ask(method, address, body, headers)) as answer:
            return answer.response.read().decode("utf-8", "replace")

    def post(self, address: str, body: Mapping[str, Any] | None = None, *, key: str = "") -> Any:
        """What the server answered to ``body``; the same ``key`` again is the same request, so it is safe to repeat."""
        headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
        with _Closing(self._ask("POST", address, json.dumps(body or {}).encode(), headers)) as answer:
            return _json(answer)

    def events(self, address: str, query: Query | None = None, *, limit: float = 0.0) -> Iterator[ServerEvent]:
        """The events of a stream up to its end; a lost connection is taken up behind the last event seen.

        With ``limit`` it is a Failure when that many seconds have passed.
        """
        last, lost = "", 0
        deadline = time.monotonic() + limit if limit else float("inf")
        while True:
            left = _left(deadline, limit)
            try:
                for event in self._stream(_with_query(address, query), last, left):
                    if event.kind == "end":
                        return
                    if event.kind == "problem":
                        raise Failure(event.data["detail"], reason=event.data["reason_code"])
                    last, lost = event.id or last, 0
                    yield event
            except OSError:
                broken = self._away("the stream broke off")
            except Failure as failure:
                if failure.reason != "api_away" or not last:
                    raise
                broken = failure
            else:
                broken = self._away("the stream broke off")
            lost += 1
            if lost > RECONNECTIONS:
                raise broken
            time.sleep(min(0.1 * 2**lost, LONGEST_PAUSE))  # a server that starts again is given time

    def _stream(self, address: str, last: str, left: float = ANSWER_LIMIT) -> Iterator[ServerEvent]:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
        patience = max(0.1, min(ANSWER_LIMIT, left))
        with _Closing(self._ask("GET", address, None, headers, patience=patience)) as answer:
            yield from parse_events(answer.response)

    def _ask(
        self, method: str, address: str, body: bytes | None = None, headers: Mapping[str, str] | None = None, *,
        patience: float = 0.0,
    ) -> _Answer:  # fmt: skip
        """A connection that breaks before an answer is made anew once, for a request that may be made twice.

        One that is refused, or breaks so, is made anew until the server has started again, where somebody does that.
        """
        twice = method == "GET" or "Idempotency-Key" in (headers or {})
        until, broken_before = time.monotonic() + min(RESTART_LIMIT, self._limit), False
        while True:
            try:
                return self._asked(method, address, body, headers, patience)
            except Failure as failure:
                broken = twice and isinstance(failure.__cause__, BROKEN)
                if not broken and not isinstance(failure.__cause__, ConnectionRefusedError):
                    raise
                if broken and not broken_before:
                    broken_before = True
                    continue
                if time.monotonic() > until or not self._restarts():
                    raise
            time.sleep(AGAIN)  # a server that starts again tells nobody when it is there

    def _asked(
        self, method: str, address: str, body: bytes | None, headers: Mapping[str, str] | None, patience: float
    ) -> _Answer:
        import http.client

        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        begun = time.monotonic()
        connection = kind(self._host, self._port, timeout=min(CONNECT_LIMIT, self._limit))
        try:
            connection.connect()
            connection.sock.settimeout(patience or self._limit)
            sent = {"Authorization": f"Bearer {self._token}", "Accept": "application/json", "User-Agent": "enclii"}
            sent |= headers or {}
            connection.request(method, self._prefix + address, body, sent)
            answer = _Answer(connection, connection.getresponse())
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            self._tell(method, address, "no answer", begun)
            if isinstance(error, TimeoutError) and self._limit < ANSWER_LIMIT:
                raise self._late() from error
            told = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise self._away(told) from error
        self._tell(method, address, str(answer.response.status), begun)
        if answer.response.status >= 400:
            with _Closing(answer):
                raise _failure(answer.response.status, answer.response.read(1 << 20))
        return answer

    def _tell(self, method: str, address: str, ended: str, begun: float) -> None:
        if self._told:
            self._told(f"{method} {self._prefix}{address}  {ended}  {(time.monotonic() - begun) * 1000:.0f} ms")

    def _late(self) -> Failure:
        return Failure(
            f"the API at {self.server} did not answer within {self._limit:g} s", reason="timeout", exit_code=TIMED_OUT,
            advice="give it more: --timeout SECONDS",
        )  # fmt: skip

    def _away(self, detail: str) -> Failure:
        advice = START if is_this_machine(self.server) else ELSEWHERE
        return Failure(f"the API at {self.server} does not answer: {detail}", reason="api_away", advice=advice)


class _Answer:
    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        self.connection = connection
        self.response = response


class _Closing:
    """Closes the connection behind an answer; a stream that its reader leaves must not stay open."""

    def __init__(self, answer: _Answer) -> None:
        self._answer = answer

    def __enter__(self) -> _Answer:
        return self._answer

    def __exit__(self, *_: object) -> None:
        self._answer.response.close()
        self._answer.connection.close()


def is_this_machine(server: str) -> bool:
    """Whether the address of a server is one that no other machine can have."""
    import ipaddress

    host = urlsplit(server).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _left(deadline: float, limit: float) -> float:
    """Seconds up to the deadline. Raises Failure when it has passed."""
    left = deadline - time.monotonic()
    if left <= 0:
        message = f"not ended within {limit:g} s; it goes on"
        raise Failure(message, reason="timeout", exit_code=TIMED_OUT, advice="enclii status --watch")
    return left


def _port(server: str) -> int | None:
    try:
        return urlsplit(server).port
    except ValueError:
        raise Failure(f"{server!r} has no valid port", reason="bad_server", exit_code=USAGE) from None


def parse_events(lines: Iterator[bytes]) -> Iterator[ServerEvent]:
    """Server-Sent Events out of a body's lines; comments are passed over."""
    fields: dict[str, list[str]] = {}
    for raw in lines:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if line:
            name, _, value = line.partition(":")
            fields.setdefault(name, []).append(value.removeprefix(" "))
        elif "data" in fields:
            kind, number = fields.get("event", ["message"])[-1], fields.get("id", [""])[-1]
            yield ServerEvent(kind, json.loads("\n".join(fields["data"])), number)
            fields = {}
        else:
            fields = {}


def _with_query(address: str, query: Query | None) -> str:
    pairs = {key: str(value).lower() if isinstance(value, bool) else value for key, value in (query or {}).items()}
    found = urlencode({key: value for key, value in pairs.items() if value not in (None, "")})
    return f"{address}?{found}" if found else address


def _json(answer: _Answer) -> Any:
    try:
        return json.loads(answer.response.read())
    except (ValueError, OSError) as error:
        raise Failure("the API's answer broke off or is not JSON", reason="bad_answer") from error


def _failure(status: int, body: bytes) -> Failure:
    """The failure that a problem document tells of; other servers' error pages are told by their status alone."""
    try:
        found = json.loads(body)
        detail, reason, code = str(found["detail"]), str(found["reason_code"]), int(found["exit_code"])
    except (ValueError, KeyError, TypeError):
        return Failure(f"the server answered {status}", reason=f"http_{status}")
    told = found.get("next")
    advice = told if isinstance(told, str) else ""
    if code == NOT_LOGGED_IN:
        advice = "set ENCLII_TOKEN, or run this where .enclii is"
    return Failure(detail, reason=reason, exit_code=code, advice=advice)
