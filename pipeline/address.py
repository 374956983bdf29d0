"""Addresses as an HTTP client needs them: where to connect, what to ask for, and where an answer's Location leads."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, urljoin, urlsplit

PORTS = {"http": 80, "https": 443}
_PLAIN = re.compile(r"[\x21-\x7e]+")
_TARGET = "!#$%&'()*+,/:;=?@[]~"


class OtherScheme(ValueError):
    """An address, and not one of http."""


@dataclass(frozen=True, slots=True)
class Address:
    """An absolute http or https address; made by ``parse``. It is shown as its origin alone: uploads and token
    services carry in the rest what must not be told.
    """

    scheme: str
    host: str
    port: int
    target: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError for what is no address, or holds a login; OtherScheme."""
        parts = urlsplit(quote(text, safe=_TARGET))
        port = PORTS.get(parts.scheme)
        if port is None and parts.scheme:
            raise OtherScheme("another scheme than http")
        if port is None or not parts.hostname or "@" in parts.netloc or not _PLAIN.fullmatch(parts.netloc):
            raise ValueError("not an http address")
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        return cls(parts.scheme, parts.hostname, port if parts.port is None else parts.port, target)

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def text(self) -> str:
        """The whole address."""
        return f"{self.scheme}://{self.host_header}{self.target}"

    def joined(self, location: str) -> Self:
        """Where ``location`` leads from here, relative or absolute. Raises ValueError."""
        return type(self).parse(urljoin(self.text, quote(location, safe=_TARGET)))

    def asking(self, name: str, value: str) -> Self:
        """The same with one parameter more."""
        separator = "&" if "?" in self.target else "?"
        return type(self)(self.scheme, self.host, self.port, f"{self.target}{separator}{name}={quote(value, safe='')}")

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host_header}"

    __repr__ = __str__
