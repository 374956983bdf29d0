"""Templates become pages: escaped always, and imported at the first page, since most consoles show none."""

from __future__ import annotations

import datetime
import functools
import hashlib
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse

from console import texts
from console.bearer import ACTOR
from console.web.security import SESSION
from console.web.sessions import form_token

if TYPE_CHECKING:
    import jinja2

HERE: Final = Path(__file__).parent
STATIC: Final = HERE / "static"
NONE: Final = "\N{EN DASH}"
KINDS: Final = {".css": "text/css", ".js": "text/javascript"}


def render(request: Request, page: str, status: int = 200, /, **values: Any) -> HTMLResponse:
    """The page ``templates/<page>`` with what every page shows."""
    session = request.scope.get(SESSION, "")
    known = {
        "actor": request.scope.get(ACTOR, ""),
        "csrf": form_token(session) if session else "",
        "path": request.url.path,
        "now": datetime.datetime.now(datetime.UTC),
        "live": "",
    }
    return HTMLResponse(_templates().get_template(page).render(known | values), status)


@functools.cache
def _templates() -> jinja2.Environment:
    import jinja2

    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "ago": lambda text, now: f"{texts.age(text, now)} ago" if text else NONE,
        "short": texts.short,
        "version": texts.version,
        "printable": lambda value: texts.printable(str(value)),
        "took": took,
        "shown": _shown,
        "span": lambda seconds: texts.span(seconds) if seconds is not None else NONE,
        "percent": lambda part: f"{100 * part:.0f} %" if part is not None else NONE,
    }
    found.globals |= {"static": static, "new_key": lambda: f"web-{uuid.uuid4()}"}
    return found


def took(stage: dict[str, str], now: datetime.datetime) -> str:
    """How long a stage took, or takes."""
    end = texts.moment(stage["finished_at"]) or now
    seconds = texts.seconds_between(stage["started_at"], end)
    return texts.span(seconds) if seconds is not None else NONE


def _shown(value: object) -> str:
    """A value of a plan's change; an image by its digest."""
    text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    return "none" if value is None else texts.short(text) if "@sha256:" in text else texts.printable(text)


def static(name: str) -> str:
    """The address of a file, with its content's hash, so that browsers may keep it for ever."""
    return f"/static/{name}?{_hash(name)}"


@functools.cache
def _hash(name: str) -> str:
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
