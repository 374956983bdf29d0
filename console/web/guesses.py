"""How often somebody was wrong lately, and how long they have to wait for it."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request

IPV6_BITS: Final = 64
"""What one customer of a network has at least."""


class Guesses:
    """How often each address was wrong lately; of many addresses only the latest are remembered."""

    def __init__(
        self,
        *,
        most: int = 10,
        within: float = 60.0,
        addresses: int = 1_024,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = most
        self._within = within
        self._addresses = addresses
        self._clock = clock
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    def wait(self, address: str) -> float:
        """Seconds until ``address`` may try again; 0 for at once."""
        times = self._wrong.get(address, deque())
        while times and times[0] <= self._clock() - self._within:
            times.popleft()
        return times[0] + self._within - self._clock() if len(times) >= self._most else 0.0

    def wrong(self, address: str) -> None:
        """Count one more."""
        self._wrong.setdefault(address, deque(maxlen=self._most)).append(self._clock())
        self._wrong.move_to_end(address)
        while len(self._wrong) > self._addresses:
            self._wrong.popitem(last=False)

    def forgive(self, address: str) -> None:
        """Forget what was wrong."""
        self._wrong.pop(address, None)


def address_of(request: Request) -> str:
    """Where a request came from: an IPv4 address, or the 64 bits of an IPv6 one of which a caller has all the rest."""
    given = request.client.host if request.client else ""
    try:
        found = ipaddress.ip_address(given)
    except ValueError:
        return given
    if isinstance(found, ipaddress.IPv6Address) and not found.ipv4_mapped:
        return str(ipaddress.ip_network((int(found), IPV6_BITS), strict=False))
    return str(getattr(found, "ipv4_mapped", None) or found)


def limit(guesses: Guesses, request: Request) -> None:
    """Return unless that address was wrong too often lately. Raises HTTPException."""
    if wait := guesses.wait(address_of(request)):
        headers = {"Retry-After": str(math.ceil(wait))}
        raise HTTPException(429, "too many wrong logins: wait a minute", headers)
