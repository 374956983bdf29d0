"""``enclii login``, ``logout`` and ``whoami``."""

from __future__ import annotations

import platform
import sys
import time
from typing import Any, Final

import click

from console.client import NOT_LOGGED_IN, TIMED_OUT, USAGE, Client, Failure, path
from console.commands.options import formatted, show, tell
from console.session import Session
from console.texts import printable

WAITING: Final = frozenset({"authorization_pending", "slow_down", "api_away"})
LONGEST_TOKEN: Final = 20_000


@click.command()
@click.option("--token-stdin", is_flag=True, help="Read a token from standard input instead.")
@formatted
@click.pass_obj
def login(session: Session, *, token_stdin: bool, output: str) -> None:
    """Log this command line in: open the address it prints in any browser, and say yes there."""
    given = _from_stdin() if token_stdin else _from_browser(session)
    who = Client(session.server, given["token"]).get("/v1/whoami")
    where = session.logins.keep(session.server, given["token"], number=given.get("id", ""))
    tell(f"logged in at {session.server}; kept in {where}")
    show({"server": session.server, **who}, output, lambda it: str(it["name"]))


def _from_stdin() -> dict[str, str]:
    text = sys.stdin.read(LONGEST_TOKEN).strip()
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise Failure("standard input has no token", reason="no_token", exit_code=USAGE)
    return {"token": text}


def _from_browser(session: Session) -> dict[str, str]:
    begun = session.anonymous().post("/v1/device", {"client": printable(platform.node())[:60]})
    tell(f"open {begun['verification_uri_complete']}")
    tell(f"and say yes to the code {begun['user_code']}")
    end = time.monotonic() + float(begun["expires_in"])
    while time.monotonic() < end:
        time.sleep(float(begun["interval"]))  # RFC 8628: the server says how often it may be asked
        try:
            found: dict[str, str] = session.anonymous().post("/v1/device/token", {"device_code": begun["device_code"]})
        except Failure as failure:
            if failure.reason not in WAITING:
                raise
        else:
            return found
    raise Failure("nobody said yes in time", reason="expired_token", exit_code=TIMED_OUT, advice="enclii login")


@click.command()
@click.pass_obj
def logout(session: Session) -> None:
    """Forget the login for this server; a token of enclii login ends there too."""
    server = session.server
    token, number = session.logins.token(server), session.logins.number(server)
    if not token:
        tell(f"not logged in at {server}")
        return
    try:
        if number:
            Client(server, token).post(path("tokens", number, "revoke"))
    except Failure as failure:
        if failure.exit_code != NOT_LOGGED_IN:
            tell(f"the server could not be told, so the token lasts until its end: {failure.message}")
    session.logins.forget(server)
    tell(f"logged out at {server}")


@click.command()
@formatted
@click.pass_obj
def whoami(session: Session, *, output: str) -> None:
    """Who one is at this server, and what one may where."""
    show(session.api.get("/v1/whoami"), output, _who, rows="roles")


def _who(it: dict[str, Any]) -> str:
    groups = f" (groups: {', '.join(map(printable, it['groups']))})" if it["groups"] else ""
    lines = [f"{printable(it['name'])}{groups}"]
    for one in it["roles"]:
        where = "/".join(part for part in (one["project"], one["environment"]) if part) or "everything"
        lines.append(f"  {one['role']:<8} {where}")
    return "\n".join(lines if it["roles"] else [*lines, "  no role anywhere"])
