"""Connections whose peer takes nothing: cut after a while, however patient the network is.

A peer that stops reading and never closes keeps its connection for ever: what was written waits in the kernel's
buffers and in the transport's, a closed transport waits until it has sent them, and TCP itself has no such limit.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from typing import Final

from uvicorn.protocols.http.auto import AutoHTTPProtocol

log = logging.getLogger(__name__)

TAKE_LIMIT: Final = 15.0
"""Seconds in which a peer whose buffers are full must take at least one byte."""
AT_ONCE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER: a close forgets what was not sent; the kernel would go on offering it for minutes."""


class Cutting(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """Uvicorn's protocol of one connection, which ends when the peer has taken nothing for ``TAKE_LIMIT``.

    A slow peer is none that takes nothing: each time the limit is over, what is left to write is compared.
    """

    _looking: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        """The transport holds as much as it should."""
        super().pause_writing()
        self._look_later()

    def resume_writing(self) -> None:
        """The peer has taken most of it."""
        self._leave()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over, by whichever side."""
        self._leave()
        super().connection_lost(exc)

    def _look_later(self) -> None:
        self._leave()
        left = self.transport.get_write_buffer_size()
        self._looking = asyncio.get_running_loop().call_later(TAKE_LIMIT, self._look, left)

    def _look(self, before: int) -> None:
        if self.transport.get_write_buffer_size() < before:
            self._look_later()
            return
        log.info("cut a connection whose peer took nothing for %g s", TAKE_LIMIT)
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        self.transport.abort()

    def _leave(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
