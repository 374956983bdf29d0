"""The route table: which upstreams answer to which host, and how many requests are under way at each of them.

Pure bookkeeping without sockets or clocks; whoever needs to wait for a change subscribes to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from pipeline.errors import Invalid

Listener = Callable[[], None]

NEVER_SET = -1


def canonical_host(authority: str) -> str:
    """The host of a Host header as the table knows it: lower case, without port and trailing dot."""
    host = authority.strip().lower()
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].rstrip(".")


def split_address(address: str) -> tuple[str, int]:
    """``127.0.0.1:8080`` as host and port; anything that cannot be dialled is Invalid."""
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise Invalid(f"upstream address {address!r} is not HOST:PORT", reason="upstream_address_invalid")
    return host.removeprefix("[").removesuffix("]"), int(port)


@dataclass(slots=True)
class Route:
    """What is known of one host; ``present`` is False for a route that was removed and must not come back by itself."""

    upstreams: tuple[str, ...]
    seq: int
    present: bool = True
    turn: int = 0


class RouteTable:
    """Routes by host. Every change carries a sequence number, and an older one never overwrites a newer one."""

    def __init__(self, *, whole: bool = True) -> None:
        self.whole = whole
        """False until what was stored is read: a name that is not here yet may still be somebody's."""
        self._routes: dict[str, Route] = {}
        self._in_flight: Counter[tuple[str, str]] = Counter()
        self._listeners: list[Listener] = []
        self.version = 0
        """Grows with every accepted change."""

    def set(self, host: str, upstreams: Iterable[str], seq: int) -> bool:
        """Replace the upstreams of a host; False when the table already holds this sequence number or a later one."""
        addresses = tuple(dict.fromkeys(upstreams))
        for address in addresses:
            split_address(address)
        return self._store(host, Route(addresses, seq))

    def remove(self, host: str, seq: int) -> bool:
        """Forget a host. Its sequence number stays, so that a late ``set`` does not bring the route back."""
        return self._store(host, Route((), seq, present=False))

    def completed(self) -> None:
        """All that was stored is here: a name that is not, is nobody's."""
        self.whole = True
        self._notify()

    def seq(self, host: str) -> int:
        """The sequence number of the last accepted change; NEVER_SET for a host that never had one."""
        route = self._routes.get(canonical_host(host))
        return route.seq if route else NEVER_SET

    def has(self, host: str) -> bool:
        """Whether a service answers to this name, ready or not; ``host`` is canonical."""
        route = self._routes.get(host)
        return route is not None and route.present

    def hosts(self) -> list[str]:
        return sorted(host for host, route in self._routes.items() if route.present)

    def upstreams(self, host: str) -> tuple[str, ...]:
        route = self._routes.get(canonical_host(host))
        return route.upstreams if route else ()

    def addresses(self) -> frozenset[str]:
        """Every address that some route uses."""
        return frozenset(address for route in self._routes.values() for address in route.upstreams)

    def acquire(self, host: str, *, avoid: Collection[str] = ()) -> str | None:
        """The next upstream of a canonical host in turn, counted as in flight until ``release``, or None."""
        route = self._routes.get(host)
        if route is None or not route.upstreams:
            return None
        count = len(route.upstreams)
        for step in range(count):
            address = route.upstreams[(route.turn + step) % count]
            if address not in avoid:
                route.turn = (route.turn + step + 1) % count
                self._in_flight[host, address] += 1
                return address
        return None

    def release(self, host: str, address: str) -> None:
        """The request that ``acquire`` counted is over."""
        key = (host, address)
        left = self._in_flight[key] - 1
        if left > 0:
            self._in_flight[key] = left
            return
        del self._in_flight[key]
        self._notify()

    def in_flight(self, host: str, address: str) -> int:
        return self._in_flight.get((canonical_host(host), address), 0)

    def in_flight_by_address(self, host: str) -> dict[str, int]:
        """Requests under way at every current upstream, and at removed ones that still finish some."""
        name = canonical_host(host)
        counts = dict.fromkeys(self.upstreams(name), 0)
        counts.update({address: count for (owner, address), count in self._in_flight.items() if owner == name})
        return counts

    def subscribe(self, listener: Listener) -> None:
        """Call ``listener`` after every accepted change, when an address is quiet again, and when all is read."""
        self._listeners.append(listener)

    def unsubscribe(self, listener: Listener) -> None:
        self._listeners.remove(listener)

    def _store(self, host: str, route: Route) -> bool:
        name = canonical_host(host)
        if not name:
            raise Invalid("a route needs a host", reason="route_host_missing")
        if route.seq <= self.seq(name):
            return False
        self._routes[name] = route
        self.version += 1
        self._notify()
        return True

    def _notify(self) -> None:
        for listener in tuple(self._listeners):
            listener()
