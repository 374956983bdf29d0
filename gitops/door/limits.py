"""How long and how much the front door tolerates; one frozen value that every connection shares."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds and bytes; the defaults suit services that people and other services call."""

    connect: float = 3.0
    """for a TCP connection to an upstream"""
    header: float = 10.0
    """from the first byte of a request to the end of its headers"""
    idle: float = 75.0
    """for a client's connection between two requests"""
    body: float = 60.0
    """for a client that stops sending a body, or stops reading an answer"""
    answer: float = 300.0
    """from a complete request to the head of its answer"""
    stream: float = 3600.0
    """for an answer or a tunnel on which nothing moves"""
    linger: float = 2.0
    """for a client that still sends although it was told why it will not be heard"""
    pooled: float = 4.0
    """for an unused connection to an upstream"""
    pooled_unsafe: float = 1.0
    """the same for a request that cannot be repeated: it must not meet a server that is just closing"""
    head_bytes: int = 32 * 1024
    """for request line and headers"""
    buffer: int = 256 * 1024
    """kept per direction before the sender is told to wait"""
    connections: int = 4096
    """clients at the same time"""
