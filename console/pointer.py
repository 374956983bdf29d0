"""What a browser is told at the address that a push prints: how to follow the run. It asks for no token.

It tells nothing: the text is the same whether there is such a run or not.
"""

from __future__ import annotations

import re
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse

_RUN: Final = re.compile(r"r-[0-9a-z]{1,40}")
_TEXT: Final = """\
Run {run}

Follow it:      enclii status --watch --run {run}
Why it ended:   enclii why {run}
The build:      enclii logs --build --run {run}

Without the command line: GET {base}v1/runs/{run} with the API's token as bearer.
"""


async def run_page(request: Request) -> PlainTextResponse:
    """How to follow a run. Raises HTTPException 404 for what is no run's id."""
    run = request.path_params["id"]
    if not _RUN.fullmatch(run):
        raise HTTPException(404)
    text = _TEXT.format(run=run, base=request.base_url)
    return PlainTextResponse(text, headers={"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"})
