"""``enclii login`` and its kin as processes of their own, before a real console."""

from __future__ import annotations

import asyncio
import os
import re
import stat
import sys
from pathlib import Path

from tests.integration import console_records as data
from tests.integration.browser import logged_in
from tests.integration.console_server import TOKEN, Console, with_console

LIMIT = 90.0


async def started(console: Console, tmp: Path, *argv: str, **env: str) -> asyncio.subprocess.Process:
    given = {"HOME": str(tmp), "ENCLII_SERVER": console.url, "ENCLII_KEYRING": "off", "PATH": os.environ["PATH"], **env}
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "console.cli", *argv, env=given, stdin=pipe, stdout=pipe, stderr=pipe
    )


async def ended(process: asyncio.subprocess.Process, given: bytes = b"") -> tuple[int, str, str]:
    out, err = await asyncio.wait_for(process.communicate(given), LIMIT)
    return process.returncode or 0, out.decode(), err.decode()


def test_a_person_logs_in_by_a_browser_and_out(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        person = await logged_in(console)
        login = await started(console, tmp_path, "login")
        assert login.stderr is not None
        told = (await login.stderr.readline()).decode() + (await login.stderr.readline()).decode()
        code = re.search(r"code ([A-Z]{4}-[A-Z]{4})", told)
        assert code
        await person.submit(f"/device?code={code[1]}", "/device", verdict="yes")

        assert (await ended(login))[:2] == (0, "deployer\n")

        kept = tmp_path / ".config" / "enclii" / "logins.json"
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        code_, out, _ = await ended(await started(console, tmp_path, "whoami"))
        assert (code_, out.splitlines()[0], "admin" in out) == (0, "deployer", True)
        assert (await ended(await started(console, tmp_path, "logout")))[0] == 0
        assert (await ended(await started(console, tmp_path, "whoami")))[0] == 4
        assert "token" not in kept.read_text()

    with_console(tmp_path, story)


def test_a_token_from_standard_input_is_tried_before_it_is_kept(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        wrong = await ended(await started(console, tmp_path, "login", "--token-stdin"), b"nonsense\n")
        assert (wrong[0], (tmp_path / ".config").exists()) == (4, False)
        assert (await ended(await started(console, tmp_path, "login", "--token-stdin"), b""))[0] == 2
        assert (await ended(await started(console, tmp_path, "login", "--token-stdin"), TOKEN.encode()))[0] == 0
        assert (await ended(await started(console, tmp_path, "whoami")))[0] == 0
        wins = await ended(await started(console, tmp_path, "whoami", ENCLII_TOKEN="enclii_no"))
        assert (wins[0], "wrong_token" in wins[2]) == (4, True)

    with_console(tmp_path, story)


def test_a_token_is_made_listed_and_revoked(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        key = {"ENCLII_TOKEN": TOKEN}
        made = await started(console, tmp_path, "token", "create", "ci", "--role", "deployer", "-p", "shop", **key)
        code, token, told = await ended(made)
        assert (code, token.startswith("enclii_"), "this once" in told) == (0, True, True)
        number = token.split("_")[1]
        out = ""
        while number not in out:
            out = (await ended(await started(console, tmp_path, "token", "list", **key)))[1]
        assert "deployer shop" in out
        assert (await ended(await started(console, tmp_path, "token", "revoke", number, **key)))[0] == 0
        assert (await ended(await started(console, tmp_path, "whoami", ENCLII_TOKEN=token.strip())))[0] == 4
        lines = (await ended(await started(console, tmp_path, "audit", "--all", "-o", "jsonl", **key)))[1].splitlines()
        assert any('"what": "token revoke"' in line and '"way": "CLI"' in line for line in lines)

    with_console(tmp_path, story)
