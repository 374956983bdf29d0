"""What a service prints to harm its readers reaches each of them harmless: a terminal, a pipe, a stream of the API."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from urllib.request import Request, urlopen

from console.service_logs import NANO
from gitops.clusters import LogLine
from tests.integration import console_records as data
from tests.integration.console_server import TOKEN, Console, with_console
from tests.integration.test_cli import PLACE
from tests.integration.test_cli_forms import env_of
from tests.support.terminal import in_pipe, in_terminal

LINES = {
    "escapes": b"\x1b[2J\x1b]0;owned\x07\x1b[31mred\x1b[0m\x9b1m\rover\x08",
    "html": b"<script>alert(1)</script> &amp; \"'",
    "stream": b"event: end\r\n\r\ndata: {}\r\n\r\nid: 7",
    "binary": bytes(range(1, 256)).replace(b"\n", b"") + b"\x00\xff\xfe",
    "long": b"x" * (1 << 20),
    "last": "größe 日本語".encode(),
}
SHOWN = [text.decode("utf-8", "replace") for text in LINES.values()]


def streamed(console: Console) -> tuple[str, str, bytes]:
    """The kind of answer, whether it may be guessed at, and its bytes."""
    address = f"{console.url}/v1/services/shop.web/logs?environment=production&tail=10"
    with urlopen(Request(address, headers={"Authorization": f"Bearer {TOKEN}"}), timeout=60) as answer:
        return answer.headers["content-type"], answer.headers["x-content-type-options"], answer.read()


def test_hostile_lines_drive_no_terminal_break_no_stream_and_reach_a_pipe_whole(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        told = enumerate(LINES.values())
        console.logs.lines = [LogLine(1_700_000_000 * NANO + n, "web-1", "v1", "stdout", text) for n, text in told]
        here = {"env": env_of(console), "cwd": tmp_path}

        tty = await asyncio.to_thread(in_terminal, "logs", *PLACE, **here)
        pipe = await asyncio.to_thread(in_pipe, "logs", "-o", "jsonl", *PLACE, **here)
        kind, guessed, stream = await asyncio.to_thread(streamed, console)

        assert (tty.code, pipe.code) == (0, 0), (tty.text[-500:], pipe.err)
        assert not [one for one in tty.text if one not in "\t\r\n" and not one.isprintable()]
        rows = tty.text.replace("\r\n", "\n").splitlines()
        assert rows[0].startswith("web-1 | \\x1b[2J\\x1b]0;owned\\x07\\x1b[31mred"), rows[0]
        assert rows[1] == f"web-1 | {SHOWN[1]}"
        assert (len(rows), rows[-1]) == (len(LINES), f"web-1 | {SHOWN[-1]}")
        assert [json.loads(line)["text"] for line in pipe.text.splitlines()] == SHOWN
        assert (kind.partition(";")[0], guessed) == ("text/event-stream", "nosniff")
        lines = [line for line in stream.split(b"\n") if line.startswith(b"data: ") and b'"text"' in line]
        assert [json.loads(line[6:])["text"] for line in lines] == SHOWN
        assert not {one for one in stream if one < 32} - {0x0A, 0x0D}

    with_console(tmp_path, story)
