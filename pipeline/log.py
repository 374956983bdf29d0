"""Log lines of every process: JSON when a program reads them, plain text on a terminal, with the work's ids bound.

Ids are bound once, where a piece of work begins, and stand on each line that it causes. Values are written as they
are: nothing secret is ever passed to a logger.
"""

from __future__ import annotations

import contextlib
import contextvars
import json
import logging
import sys
import time
from collections.abc import Iterator
from typing import Literal, TextIO

_bound: contextvars.ContextVar[dict[str, str] | None] = contextvars.ContextVar("enclii_log", default=None)


@contextlib.contextmanager
def bound(**ids: str) -> Iterator[None]:
    """Put ``run``, ``service``, ``commit`` … on every line logged inside; empty values are left out."""
    token = _bound.set((_bound.get() or {}) | {key: value for key, value in ids.items() if value})
    try:
        yield
    finally:
        _bound.reset(token)


def learned(**ids: str) -> None:
    """Put more ids on the lines of the piece of work in hand, which only its handling finds out."""
    if (ids_bound := _bound.get()) is not None:
        ids_bound.update({key: value for key, value in ids.items() if value})


class _Json(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line = {"time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}Z"}
        line |= {"level": record.levelname.lower(), "process": self._process, "message": record.getMessage()}
        line |= _bound.get() or {}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class _Text(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        ids = " ".join(f"{key}={value}" for key, value in (_bound.get() or {}).items())
        line = f"{self.formatTime(record, '%H:%M:%S')} {self._process:9} {record.levelname.lower():7} "
        line += f"{record.getMessage()}{'  ' + ids if ids else ''}"
        return line + (f"\n{self.formatException(record.exc_info)}" if record.exc_info else "")


def set_up(
    process: str,
    form: Literal["auto", "json", "text"] = "auto",
    stream: TextIO = sys.stderr,
    *,
    level: Literal["debug", "info", "warning", "error"] = "info",
) -> None:
    """Send this process's log to ``stream``; ``auto`` is text on a terminal and JSON elsewhere."""
    handler = logging.StreamHandler(stream)
    text = form == "text" or (form == "auto" and stream.isatty())
    formatter: logging.Formatter = _Text(process) if text else _Json(process)
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for chatty in ("httpx2", "httpcore2", "nats", "uvicorn.access"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLogger().level))
