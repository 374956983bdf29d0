"""Request and response heads: what is refused, what is stripped, what the next hop reads.

Pure functions over header lists. The parser has already refused bad names, folded lines and contradicting lengths;
here are the rules that only a proxy has.
"""

from __future__ import annotations

import re

Headers = list[tuple[bytes, bytes]]

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
    }
)
FORWARDED = frozenset(
    {
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-proto",
        b"x-forwarded-server",
        b"x-real-ip",
    }
)
NOT_FROM_CLIENTS = HOP_BY_HOP | FORWARDED | {b"host"}
IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})
AUTHORITY = re.compile(rb"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
ABSOLUTE_FORM = re.compile(rb"https?://([^/?#]*)([^#]*)", re.IGNORECASE)

REASONS = {
    400: b"Bad Request",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    431: b"Request Header Fields Too Large",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
}


class Rejection(Exception):
    """A request that the door answers itself, with this status and text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class RequestHead:
    """One parsed request without its body."""

    __slots__ = ("authority", "chunked", "close", "expects", "headers", "length", "method", "old", "target", "upgrade")

    def __init__(self, method: bytes, target: bytes, version: str, headers: Headers) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.old = version == "1.0"
        self.close = self.old
        self.chunked = False
        self.length = 0
        self.expects = False
        self.upgrade = b""
        self.authority = b""
        if version not in ("1.1", "1.0"):
            raise Rejection(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
        if method == b"CONNECT":
            raise Rejection(405, "this is not a forward proxy")
        self._read_headers()
        self._read_target()

    @property
    def has_body(self) -> bool:
        return self.chunked or self.length > 0

    @property
    def idempotent(self) -> bool:
        return self.method in IDEMPOTENT

    def _read_headers(self) -> None:
        hosts: list[bytes] = []
        lengths: list[bytes] = []
        encodings: list[bytes] = []
        options: set[bytes] = set()
        for name, value in self.headers:
            lower = name.lower()
            if lower == b"host":
                hosts.append(value)
            elif lower == b"content-length":
                lengths.append(value)
            elif lower == b"transfer-encoding":
                encodings.append(value)
            elif lower == b"connection":
                options |= tokens(value)
            elif lower == b"expect":
                self.expects = value.strip().lower() == b"100-continue"
            elif lower == b"upgrade":
                self.upgrade = value.strip()
        self._read_framing(lengths, encodings)
        self.authority = self._one_host(hosts)
        self.close = self.close or b"close" in options
        if b"upgrade" not in options or not self._may_upgrade():
            self.upgrade = b""

    def _read_framing(self, lengths: list[bytes], encodings: list[bytes]) -> None:
        if (lengths and encodings) or len(lengths) > 1 or len(encodings) > 1:
            raise Rejection(400, "the length of the body is given in more than one way")
        if lengths:
            if not lengths[0].isdigit():
                raise Rejection(400, "Content-Length is not a number")
            self.length = int(lengths[0])
        if encodings:
            if self.old or encodings[0].strip().lower() != b"chunked":
                raise Rejection(501, "no Transfer-Encoding but chunked is understood")
            self.chunked = True

    def _one_host(self, hosts: list[bytes]) -> bytes:
        if len(hosts) > 1 or (not hosts and not self.old):
            raise Rejection(400, "exactly one Host header is needed")
        host = hosts[0].strip() if hosts else b""
        if host and not AUTHORITY.fullmatch(host):
            raise Rejection(400, "the Host header is not a host")
        return host

    def _may_upgrade(self) -> bool:
        # A tunnel hides what follows from the door; HTTP/2 would hide whole requests in it, so it is not offered.
        return self.method == b"GET" and not (self.old or self.has_body) and not self.upgrade.lower().startswith(b"h2")

    def _read_target(self) -> None:
        if self.target.startswith(b"/") or (self.target == b"*" and self.method == b"OPTIONS"):
            return
        absolute = ABSOLUTE_FORM.fullmatch(self.target)
        if absolute is None or not AUTHORITY.fullmatch(absolute[1]):
            raise Rejection(400, "the request target is neither a path nor a URL of this door")
        self.authority = absolute[1]
        path = absolute[2]
        self.target = path if path.startswith(b"/") else b"/" + path

    def for_upstream(self, client: bytes, scheme: bytes) -> bytes:
        """The head as the upstream reads it: hop-by-hop headers gone, the client described by the door alone."""
        lines = [b"%b %b HTTP/1.1\r\nHost: %b\r\n" % (self.method, self.target, self.authority)]
        named = connection_names(self.headers)
        for name, value in self.headers:
            lower = name.lower()
            if lower in NOT_FROM_CLIENTS or lower in named:
                continue
            # Many frameworks read X_Forwarded_For and X-Forwarded-For as one name.
            if b"_" in lower and lower.replace(b"_", b"-") in NOT_FROM_CLIENTS:
                continue
            lines.append(b"%b: %b\r\n" % (name, value))
        if self.chunked:
            lines.append(b"Transfer-Encoding: chunked\r\n")
        if self.upgrade:
            lines.append(b"Connection: Upgrade\r\nUpgrade: %b\r\n" % self.upgrade)
        lines.append(forwarded(client, self.authority, scheme))
        return b"".join(lines)


class ResponseHead:
    """One parsed response without its body, and how that body ends."""

    __slots__ = ("bodiless", "chunked", "headers", "length", "reason", "status", "until_close")

    def __init__(self, status: int, reason: bytes, headers: Headers, *, method: bytes) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers
        self.chunked = self.length = False
        for name, value in headers:
            lower = name.lower()
            if lower == b"content-length":
                self.length = True
            elif lower == b"transfer-encoding":
                if value.strip().lower() != b"chunked":
                    raise Rejection(502, "the service answered with an unknown Transfer-Encoding")
                self.chunked = True
        self.bodiless = method == b"HEAD" or status in (204, 304) or status < 200
        self.until_close = not (self.bodiless or self.chunked or self.length)

    def for_client(self, *, chunked: bool, close: bool, upgrade: bytes = b"", more: bytes = b"") -> bytes:
        """The head as the client reads it, framed for the client's own version of HTTP; ``more`` are whole lines."""
        lines = [b"HTTP/1.1 %d %b\r\n" % (self.status, self.reason)]
        named = connection_names(self.headers)
        for name, value in self.headers:
            lower = name.lower()
            if lower not in HOP_BY_HOP and lower not in named:
                lines.append(b"%b: %b\r\n" % (name, value))
        if chunked:
            lines.append(b"Transfer-Encoding: chunked\r\n")
        if upgrade:
            lines.append(b"Connection: Upgrade\r\nUpgrade: %b\r\n" % upgrade)
        elif close:
            lines.append(b"Connection: close\r\n")
        lines.append(more + b"\r\n")
        return b"".join(lines)


def tokens(value: bytes) -> set[bytes]:
    return {token.strip().lower() for token in value.split(b",")}


def connection_names(headers: Headers) -> set[bytes]:
    """Headers that the Connection header declares to be for this hop only; never those that frame a message."""
    named: set[bytes] = set()
    for name, value in headers:
        if len(name) == 10 and name.lower() == b"connection":
            named |= tokens(value)
    return named - {b"content-length", b"host"}


def forwarded(client: bytes, authority: bytes, scheme: bytes) -> bytes:
    """Who asked, for what name, over which scheme; also ends the head."""
    node = b'"[%b]"' % client if b":" in client else client
    return (
        b"X-Forwarded-For: %b\r\nX-Forwarded-Host: %b\r\nX-Forwarded-Proto: %b\r\n"
        b'Forwarded: for=%b;host="%b";proto=%b\r\n\r\n' % (client, authority, scheme, node, authority, scheme)
    )


def plain_answer(status: int, text: str, *, close: bool, with_body: bool = True) -> bytes:
    """A complete answer of the door itself; 503 and 504 say when to come back."""
    body = (text + "\n").encode()
    retry = b"Retry-After: 1\r\n" if status in (502, 503, 504) else b""
    head = (
        b"HTTP/1.1 %d %b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"
        b"Cache-Control: no-store\r\n%b%b\r\n"
        % (status, REASONS[status], len(body), retry, b"Connection: close\r\n" if close else b"")
    )
    return head + body if with_body else head
