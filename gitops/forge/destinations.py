"""Where notices go: Slack's incoming webhooks, e-mail, and webhooks signed after Standard Webhooks.

Each is a file of the state folder, ``forges/notify/NAME.json``, mode 0600; git holds its name alone.
Contract of the signature: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import smtplib
import ssl
import time
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import msgspec

from gitops.forge.door import fine
from gitops.forge.notices import Notice
from gitops.forge.rest import post
from pipeline.errors import Refused, Unavailable
from pipeline.names import token
from pipeline.private import open_to_others

FOLDER: Final = "notify"
LIMIT: Final = 10.0


class Destination(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file; which fields it needs follows from ``kind``."""

    kind: Literal["slack", "webhook", "email"]
    url: str = ""
    secret: str = ""  # of a webhook: "whsec_" and base64
    server: str = ""  # of e-mail: "smtp.example.org:587"
    tls: Literal["starttls", "tls", "none"] = "starttls"
    user: str = ""
    password: str = ""
    sender: str = ""
    to: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Destination({self.kind})"


def read(folder: Path, name: str) -> Destination:
    """Read one. Raises Refused, which never quotes the file."""
    file = folder / FOLDER / f"{name}.json"
    try:
        if open_to_others(file.stat()):
            raise Refused(f"{file.name} can be read by others: chmod 600", reason="credential_open")
        found = msgspec.json.decode(file.read_bytes(), type=Destination)
    except (OSError, msgspec.MsgspecError) as error:
        raise Refused(f"{file.name} is no destination: {type(error).__name__}", reason="destination_unfit") from None
    fit = _mailable(found.server) and found.sender and found.to if found.kind == "email" else found.url
    if not fit or (found.kind == "webhook" and not _key(found.secret)):
        raise Refused(f"{file.name} lacks what a destination of its kind needs", reason="destination_unfit")
    return found


def _mailable(server: str) -> bool:
    try:
        return bool(host_and_port(server)[0])
    except ValueError:
        return False


async def send(found: Destination, notice: Notice, *, link: str) -> None:
    """Tell it once. Raises Unavailable for what is worth another try, Refused and Invalid for what is not."""
    signed = found.kind == "webhook"
    if notice.event is not None and not signed:
        raise Refused("CDEvents are for programs: only a webhook takes them", reason="destination_unfit")
    if found.kind == "email":
        await asyncio.to_thread(_mail, found, notice, link)
        return
    said = notice.event or event(notice, link)
    body = msgspec.json.encode(said if signed else {"text": slack(notice, link)})
    form = "application/json" if notice.event is None else "application/cloudevents+json"
    headers = {"Content-Type": form, **(_signature(found, notice.id, body) if signed else {})}
    answer = await post(found.url, body, headers)
    if 300 <= answer.status < 400:
        raise Refused(f"the {found.kind} has moved: put its new url into the file", reason="destination_moved")
    fine(answer, f"the {found.kind}")


def event(notice: Notice, link: str) -> dict[str, Any]:
    """The body of a signed webhook."""
    data = {"project": notice.project, "title": notice.title, "text": notice.text, "about": notice.about, "url": link}
    return {"type": f"enclii.{notice.kind}", "data": data}


def slack(notice: Notice, link: str) -> str:
    """Slack's text, in which nothing that people wrote calls anybody."""
    title, text = (_escaped(one) for one in (notice.title, notice.text))
    return "\n".join(one for one in (f"*{title}*", text, f"<{link}|why>") if one)


def signature(secret: str, identity: str, at: int, body: bytes) -> str:
    """``v1,`` and the base64 of the HMAC-SHA256 over identity, time and body."""
    digest = hmac.new(_key(secret), f"{identity}.{at}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def _signature(found: Destination, identity: str, body: bytes) -> dict[str, str]:
    known, at = f"msg_{token(identity)}", int(time.time())
    signed = signature(found.secret, known, at, body)
    return {"webhook-id": known, "webhook-timestamp": str(at), "webhook-signature": signed}


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True) if secret.startswith("whsec_") else b""
    except (binascii.Error, ValueError):
        return b""


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")[:2_000]


def host_and_port(server: str) -> tuple[str, int]:
    """Of ``host``, ``host:port`` or ``[::1]:port``; port 0 stands for the protocol's own. Raises ValueError."""
    parts = urlsplit(f"//{server}")
    return parts.hostname or "", parts.port or 0


def _server(found: Destination) -> smtplib.SMTP:
    host, port = host_and_port(found.server)
    if found.tls == "tls":
        return smtplib.SMTP_SSL(host, port, timeout=LIMIT, context=ssl.create_default_context())
    return smtplib.SMTP(host, port, timeout=LIMIT)


def _mail(found: Destination, notice: Notice, link: str) -> None:
    message = EmailMessage()
    message["From"], message["To"] = found.sender, ", ".join(found.to)
    message["Subject"] = " ".join(notice.title.split())
    message["Message-ID"] = f"<{token(notice.id)}@enclii>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(f"{notice.text}\n\n{link}\n")
    try:
        with _server(found) as server:
            if found.tls == "starttls":
                server.starttls(context=ssl.create_default_context())
            if found.user:
                server.login(found.user, found.password)
            server.send_message(message)
    except (smtplib.SMTPAuthenticationError, smtplib.SMTPNotSupportedError, smtplib.SMTPRecipientsRefused) as error:
        raise Refused(f"the mail server refuses: {type(error).__name__}", reason="mail_refused") from None
    except (OSError, smtplib.SMTPException, ValueError) as error:
        raise Unavailable(f"the mail server: {type(error).__name__}", reason="mail_away") from None
