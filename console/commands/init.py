"""``enclii init``: look at the folder, show the ``enclii.yaml`` that says what was found, and write it once agreed."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Final

import click

from console.client import REFUSED, USAGE, Failure
from console.commands.options import confirm, formatted, show, tell
from console.session import Session
from console.texts import printable

FILE: Final = "enclii.yaml"


@click.command()
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Show what would be written; write nothing.")
@formatted
@click.pass_obj
def init(session: Session, *, yes: bool, dry_run: bool, output: str) -> None:
    """Look at this folder and write its enclii.yaml; a file that is there is never overwritten."""
    from console import detection

    folder = _root(session.cwd)
    found = detection.detect(folder)
    if not found:
        raise Failure(
            f"nothing to build was found below {folder}", reason="nothing_to_build", exit_code=USAGE,
            advice="write a Dockerfile first",
        )  # fmt: skip
    text = detection.servicefile(found)
    for one in found:
        tell(printable(f"{one.name}  {one.path}  {one.why}"))
    file = folder / FILE
    _check_absent(file, text)
    if not dry_run:
        if not yes:
            tell(_difference("", text))
            confirm(session, f"Write {file}?")
        _write(file, text)
    services = [{"name": one.name, "path": one.path, "port": one.port, "why": one.why} for one in found]
    answer = {"file": str(file), "written": not dry_run, "content": text, "services": services}
    show(answer, output, lambda _: _difference("", text) if dry_run or yes else f"wrote {file}", rows="services")
    tell("Then: git add enclii.yaml, commit it, and git push (see: enclii link --help)")


def _root(folder: Path) -> Path:
    """The repository's root: the file is read there and nowhere else."""
    return next((one for one in (folder, *folder.parents) if (one / ".git").exists()), folder)


def _check_absent(file: Path, text: str) -> None:
    """Raises Failure where there is a file; what would be otherwise in it is shown."""
    if not file.exists():
        return
    now = file.read_text("utf-8", "replace")
    if now != text:
        tell(_difference(now, text))
    raise Failure(f"{file} is there and stays as it is", reason="already_there", exit_code=REFUSED,
                  advice="edit it, or move it away first")  # fmt: skip


def _difference(before: str, after: str) -> str:
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), FILE if before else "/dev/null", FILE, lineterm=""
    )  # fmt: skip
    return "\n".join(map(printable, lines))


def _write(file: Path, text: str) -> None:
    """Raises Failure when somebody else wrote it meanwhile."""
    try:
        with open(file, "x", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o644)) as out:
            out.write(text)
    except OSError as error:
        raise Failure(f"{file}: {error.strerror}", reason="not_written") from error
