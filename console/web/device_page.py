"""The page on which a person says yes to a command line that wants to log in."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from console.authority import principal_of
from console.device import Devices, plain
from console.origins import origin_of
from console.web.guesses import Guesses, address_of, limit
from console.web.rendering import render
from console.web.security import read_form
from pipeline.errors import Refused


class DevicePage:
    """The handlers."""

    def __init__(self, devices: Devices) -> None:
        self._devices = devices
        self._guesses = Guesses()

    def routes(self) -> list[Route]:
        return [
            Route("/device", self.show, methods=["GET"]),
            Route("/device", self.answer, methods=["POST"]),
        ]

    async def show(self, request: Request) -> Response:
        limit(self._guesses, request)
        code = request.query_params.get("code", "")
        asked = await self._devices.waiting(code) if code else None
        if code and asked is None:
            self._guesses.wrong(address_of(request))
        return render(request, "device.html", code=plain(code), asked=asked, done="")

    async def answer(self, request: Request) -> Response:
        limit(self._guesses, request)
        fields = await read_form(request)
        yes = fields.get("verdict") == "yes"
        try:
            await self._devices.answer(
                fields.get("code", ""), who=principal_of(request), origin=origin_of(request), yes=yes
            )
        except Refused:
            self._guesses.wrong(address_of(request))
            raise
        return render(request, "device.html", code="", asked=None, done="yes" if yes else "no")
