"""What the door says of itself on its loopback port: what is routed where, and what a question about it must name."""

from __future__ import annotations

import math
from typing import Any
from urllib.parse import parse_qs

from gitops.door.routes import RouteTable

LONGEST_WAIT = 600.0


class BadQuestion(ValueError):
    """A query parameter is missing or no number."""


def routes_view(table: RouteTable) -> dict[str, Any]:
    """Host → sequence number, upstreams, and requests in flight per address."""
    return {
        host: {
            "seq": table.seq(host),
            "upstreams": list(table.upstreams(host)),
            "in_flight": table.in_flight_by_address(host),
        }
        for host in table.hosts()
    }


def drained_question(query: str) -> tuple[str, str, int, float]:
    """Host, address, sequence number and timeout of a query string; BadQuestion names what is wrong."""
    fields = {name: values[-1] for name, values in parse_qs(query).items()}
    host, address = fields.get("host", ""), fields.get("address", "")
    if not host or not address:
        raise BadQuestion("host and address are needed")
    try:
        seq, timeout = int(fields.get("seq", "0")), float(fields.get("timeout", "0"))
    except ValueError:
        raise BadQuestion("seq and timeout are numbers") from None
    if not math.isfinite(timeout):
        raise BadQuestion("timeout is a number of seconds")
    return host, address, seq, min(max(timeout, 0.0), LONGEST_WAIT)
