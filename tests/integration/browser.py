"""A browser without a screen: it keeps cookies, follows nothing by itself, and sends the forms that a page has."""

from __future__ import annotations

import asyncio
import http.client
import re
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urlsplit

from tests.integration.console_server import TOKEN, Console

FORM = re.compile(r'<form[^>]*action="(?P<action>[^"]+)"[^>]*>(?P<inside>.*?)</form>', re.DOTALL)
HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)">')


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    text: str
    cookies: SimpleCookie

    @property
    def location(self) -> str:
        return self.headers.get("location", "")


@dataclass
class Browser:
    """One browser at one console."""

    url: str
    cookies: dict[str, str] = field(default_factory=dict)

    async def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        return await asyncio.to_thread(self._ask, method, path, None, headers)

    async def post(self, path: str, fields: dict[str, str], **headers: str) -> Answer:
        sent = {"Content-Type": "application/x-www-form-urlencoded", **headers}
        return await asyncio.to_thread(self._ask, "POST", path, urlencode(fields), sent)

    async def submit(self, page: str, action: str, **filled: str) -> Answer:
        """Send the form of ``page`` that leads to ``action``."""
        found = next(form for form in FORM.finditer((await self.get(page)).text) if form["action"] == action)
        return await self.post(action, {**dict(HIDDEN.findall(found["inside"])), **filled})

    async def first_events(self, path: str, count: int) -> list[str]:
        """The data of a stream's first lines."""
        return await asyncio.to_thread(self._first_events, path, count)

    def _first_events(self, path: str, count: int) -> list[str]:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection.request("GET", path, None, {"Cookie": cookie, "Accept": "text/event-stream"})
        answer = connection.getresponse()
        found: list[str] = []
        kind = ""
        while len(found) < count and (line := answer.readline().decode().rstrip("\r\n")) is not None:
            name, _, value = line.partition(": ")
            kind = value if name == "event" else kind
            if name == "data" and kind == "line":
                found.append(value)
        answer.close()
        connection.close()
        return found

    def _ask(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> Answer:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection.request(method, path, body, {"Cookie": cookie, **headers})
        answer = connection.getresponse()
        set_ = SimpleCookie()
        for name, value in answer.getheaders():
            if name.lower() == "set-cookie":
                set_.load(value)
        found = Answer(
            answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode("utf-8"), set_
        )
        connection.close()
        self.cookies |= {name: one.value for name, one in set_.items() if one["max-age"] != "0"}
        for name in [name for name, one in set_.items() if one["max-age"] == "0"]:
            self.cookies.pop(name, None)
        return found


async def invited(console: Console, **body: str) -> str:
    """The path of a fresh login address."""
    answer = await console.post("/v1/logins", dict(body))
    parts = urlsplit(answer["address"])
    return f"{parts.path}?{parts.query}"


async def logged_in(console: Console) -> Browser:
    """A browser with a session."""
    browser = Browser(console.url)
    assert (await browser.get(await invited(console))).status == 303
    return browser


__all__ = ["TOKEN", "Answer", "Browser", "invited", "logged_in"]
