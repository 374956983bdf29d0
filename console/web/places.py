"""Addresses of pages: one service in one environment, and the command line that does the same."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request


@dataclass(frozen=True)
class Place:
    """A service in an environment, as addresses and commands name it. Names are checked before they are shown."""

    project: str
    environment: str
    service: str

    @classmethod
    def of(cls, request: Request) -> Place:
        """The place that an address names."""
        given = request.path_params
        return cls(given["project"], given["environment"], given["service"])

    @property
    def id(self) -> str:
        return f"{self.project}.{self.service}"

    @property
    def path(self) -> str:
        return f"/services/{self.project}/{self.environment}/{self.service}"

    @property
    def flags(self) -> str:
        """As it would be written on the command line."""
        return f"-p {self.project} -e {self.environment} -s {self.service}"
