"""Two transports joined back to back after an accepted upgrade.

Bytes pass unread in both directions; each side's back-pressure stops the other side's reading.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gitops.door.state import DoorState


class Tunnel:
    """Open until both sides have ended, or nothing moved for the limit of a stream."""

    def __init__(
        self,
        state: DoorState,
        *,
        client: asyncio.Transport,
        upstream: asyncio.Transport,
        released: Callable[[], None],
    ) -> None:
        self._state = state
        self._released = released
        self._ends = (TunnelEnd(self, client, peer=upstream), TunnelEnd(self, upstream, peer=client))
        self.deadline = 0.0

    def start(self, *, to_client: bytes, to_upstream: bytes) -> None:
        self._state.add(self)
        self.touch()
        for end, first in zip(self._ends, (to_client, to_upstream), strict=True):
            end.transport.set_protocol(end)
            # A protocol hears of a full buffer only once; the one before may have heard it.
            end.transport.set_write_buffer_limits(high=self._state.limits.buffer)
            if first:
                end.transport.write(first)

    @property
    def finished(self) -> bool:
        """Neither side will send anything more."""
        return all(end.finished for end in self._ends)

    def touch(self) -> None:
        self.deadline = self._state.loop.time() + self._state.limits.stream

    def ended(self) -> None:
        """One side is gone: what the other still has to receive is flushed, then it ends too."""
        for end in self._ends:
            if not end.lost:
                end.transport.close()
        if all(end.lost for end in self._ends):
            self._state.discard(self)
            self._released()

    def expire(self) -> None:
        self.abort()

    def finish_soon(self) -> None:
        """A tunnel has no natural end; it is given the whole grace."""

    def abort(self) -> None:
        for end in self._ends:
            end.transport.abort()


class TunnelEnd(asyncio.Protocol):
    """The protocol of one of the two transports."""

    def __init__(self, tunnel: Tunnel, transport: asyncio.Transport, *, peer: asyncio.Transport) -> None:
        self._tunnel = tunnel
        self._peer = peer
        self.transport = transport
        self.finished = False
        self.lost = False

    def data_received(self, data: bytes) -> None:
        self._tunnel.touch()
        self._peer.write(data)

    def eof_received(self) -> bool:
        """Half-close travels through; the transport closes itself when the other side has finished before."""
        self.finished = True
        if self._peer.is_closing() or self._tunnel.finished:
            return False
        self._peer.write_eof()
        return True

    def pause_writing(self) -> None:
        if not self._peer.is_closing():
            self._peer.pause_reading()

    def resume_writing(self) -> None:
        self._tunnel.touch()
        if not self._peer.is_closing():
            self._peer.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._tunnel.ended()
