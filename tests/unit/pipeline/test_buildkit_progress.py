"""BuildKit's progress as log lines and a report: pieces put together, secrets out of every part, words kept."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

from pipeline.build_log import BoundedLog, LogLine
from pipeline.build_report import summary
from pipeline.builders.buildkit_progress import Progress
from pipeline.masking import Masker

SECRET = "hunter2-hunter2"
STEP = {"digest": "sha256:1", "name": f"[2/3] RUN print {SECRET}"}
AT = "2026-01-01T00:00:00.5Z"


def read(*lines: dict[str, Any] | str, secret: str = SECRET) -> tuple[Progress, list[LogLine]]:
    kept: list[LogLine] = []

    async def keep(line: LogLine) -> None:
        kept.append(line)

    async def story() -> Progress:
        progress = Progress(BoundedLog(keep, head=10_000, tail=1000, masker=Masker([secret.encode()])))
        for line in lines:
            await progress.write("stderr", (line if isinstance(line, str) else json.dumps(line)).encode())
        await progress.end()
        return progress

    return asyncio.run(story()), kept


def log(text: str, stream: int = 1) -> dict[str, Any]:
    data = base64.b64encode(text.encode()).decode()
    return {"logs": [{"vertex": "sha256:1", "stream": stream, "data": data, "timestamp": AT}]}


def test_a_line_in_pieces_is_one_line_and_its_secret_is_masked() -> None:
    _, kept = read({"vertexes": [STEP]}, log("value: hunter2-"), log("hunter2\nnext"), log(" line"))

    assert [line.text for line in kept] == [b"value: [secret]", b"next line"]
    assert kept[0].at == "2026-01-01T00:00:00.500Z"


def test_the_names_of_steps_hold_no_secret_either() -> None:
    done = {**STEP, "started": AT, "completed": "2026-01-01T00:00:02Z"}

    progress, kept = read({"vertexes": [done]})

    assert progress.report().steps[0].name == "[2/3] RUN print [secret]"
    assert progress.report().steps[0].seconds == 1.5
    assert all(SECRET not in line.step + line.text.decode() for line in kept)


def test_what_buildctl_says_itself_is_kept_apart_without_secrets() -> None:
    progress, _ = read(log("error: not this"), f"error: failed to solve: {SECRET}")

    assert progress.words == ["error: failed to solve: [secret]"]


def test_a_step_that_fails_is_named_and_a_cancelled_one_is_not() -> None:
    failed = {**STEP, "started": AT, "error": "exit code: 7"}
    other = {"digest": "sha256:2", "name": "[1/3] RUN x", "started": AT, "error": "context canceled"}

    progress, _ = read({"vertexes": [other, failed]}, secret="nothing-here")

    assert progress.failed == STEP["name"]


def test_a_base_images_digest_is_read_from_its_step() -> None:
    digest = "sha256:" + "a" * 64

    progress, _ = read({"vertexes": [{"digest": "d", "name": f"[1/2] FROM docker.io/library/a:1@{digest}"}]})

    assert progress.bases == {"docker.io/library/a:1": digest}


def test_lines_that_are_almost_json_harm_nothing() -> None:
    progress, _ = read('{"vertexes": [7, {"name": 3}], "logs": null}', '{"logs": [{"data": "%%%"}]}', "{broken", "[]")

    assert progress.words == ["{broken", "[]"]


def test_the_summary_says_what_the_cache_had_and_what_was_first() -> None:
    steps = [
        {"digest": "1", "name": "[1/2] COPY a /", "started": AT, "completed": AT, "cached": True},
        {"digest": "2", "name": "[2/2] RUN make", "started": AT, "completed": "2026-01-01T00:00:03.5Z"},
    ]

    progress, _ = read({"vertexes": steps})

    assert summary(progress.report()) == (
        "1 of 2 steps from the cache; first built: [2/2] RUN make; longest: [2/2] RUN make (3.0 s)"
    )
