"""Programs whose caller leaves."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from pipeline import process

LIMIT = 60.0
SCRIPT = "touch begun; read line <gate; touch ended"


@pytest.mark.parametrize(("patience", "ended"), [(LIMIT, True), (0.0, False)])
def test_a_program_is_broken_off_with_its_caller_unless_that_one_is_patient(
    tmp_path: Path, patience: float, ended: bool
) -> None:
    os.mkfifo(tmp_path / "gate")
    gate = os.open(tmp_path / "gate", os.O_RDWR)

    async def go() -> None:
        argv = ("sh", "-c", SCRIPT)
        running = asyncio.create_task(process.run(argv, cwd=tmp_path, timeout=LIMIT, patience=patience))
        while not (tmp_path / "begun").exists():  # noqa: ASYNC110 - the condition lives in another process
            await asyncio.sleep(0.01)
        running.cancel()
        if ended:
            os.write(gate, b"go on\n")
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(go())
    os.close(gate)

    assert (tmp_path / "ended").exists() is ended
