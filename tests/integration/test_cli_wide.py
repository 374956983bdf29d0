"""``-o wide``: what a table has, and further columns with ids, digests and times in full."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import msgspec
import pytest

from pipeline.build_report import BuildReport
from pipeline.previews import Preview
from tests.integration import console_records as data
from tests.integration.console_server import TOKEN, Console, with_console
from tests.support.terminal import in_pipe

LISTS = {
    "builds": ("builds", "-p", "shop"),
    "audit": ("audit",),
    "tokens": ("token", "list"),
    "previews": ("preview", "list", "-p", "shop"),
}
WANTED = {
    "builds": {"BUILDER": "buildah 1.28", "LOG OF": "r-2", "IMAGE": data.IMAGE2, "COMMIT": data.SHA2},
    "audit": {"AT": "", "ID": "", "TRACE": "", "MESSAGE": ""},
    "tokens": {"ACTS AS": "token:ci", "MADE": "", "USED AT": "-", "REVOKED": "-"},
    "previews": {
        "COMMIT": data.SHA2, "ENVIRONMENT": "preview-7", "RUN": "r-2", "MADE": data.AT1,
        "APPROVED": f"{data.SHA2} by ada", "REASON": "cap: 5 are open",
    },
}  # fmt: skip


def columns(text: str) -> dict[str, str]:
    """The first row's cells by their column, in order."""
    heads, row = text.splitlines()[:2]
    found = list(re.finditer(r"\S+(?: \S+)*", heads))
    ends = [*(one.start() for one in found[1:]), len(row) + 1]
    return {one.group(): row[one.start() : end].strip() for one, end in zip(found, ends, strict=True)}


async def filled(console: Console) -> None:
    job = msgspec.structs.replace(
        data.job(2, "deployed"), image=data.IMAGE2, report=BuildReport(builder="buildah 1.28")
    )
    waits = Preview(
        id="shop.preview-7", project="shop", repository="1", number=7, environment="preview-7", state="waiting",
        reason="cap", message="5 are open", sha=data.SHA2, run="r-2", approved=data.SHA2, approved_by="ada",
        created_at=data.AT1, active_at=data.AT2, by="ada",
    )  # fmt: skip
    await console.put(*data.shop(), job, waits)
    await console.post("/v1/tokens", {"name": "ci", "role": "viewer"})


@pytest.mark.parametrize("name", LISTS)
def test_wide_has_further_columns(tmp_path: Path, name: str) -> None:
    async def story(console: Console) -> None:
        await filled(console)
        while name == "audit" and not (await console.get("/v1/audit"))["audit"]:  # noqa: ASYNC110 - as a person would
            await asyncio.sleep(0.05)
        env = {"ENCLII_SERVER": console.url, "ENCLII_TOKEN": TOKEN}
        table, wide = [
            await asyncio.to_thread(in_pipe, *LISTS[name], "-o", form, env=env, cwd=tmp_path)
            for form in ("table", "wide")
        ]
        assert (table.code, wide.code) == (0, 0), (table, wide)
        narrow, cells, wanted = list(columns(table.text)), columns(wide.text), WANTED[name]
        assert list(cells)[: len(narrow)] == narrow
        assert list(cells)[len(narrow) :] == [head for head in wanted if head != "COMMIT"]
        assert {head: cells[head] for head in wanted if wanted[head]} == {k: v for k, v in wanted.items() if v}
        assert all(cells[head] for head in wanted)

    with_console(tmp_path, story)
