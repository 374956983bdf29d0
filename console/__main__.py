"""``python -m console api``: the API, from a projection that it fills by itself."""

from __future__ import annotations

import sys

from pipeline.main import Process, main


async def api(process: Process) -> None:
    """What people and scripts ask, and the commands that they give."""
    from console.serve import serve_api

    await serve_api(process)


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] != "api":
        sys.exit("usage: python -m console api")
    main("console", api)
