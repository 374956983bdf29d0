"""Images that serve one page, pushed once each, and what a replica of them answers."""

from __future__ import annotations

import asyncio

from gitops.clusters import Replica
from tests.support.images import push_sample


class Pages:
    """The images of one instance in one registry."""

    instance: str
    registry: str
    pages: dict[str, str]

    def image(self, page: str) -> str:
        if page not in self.pages:
            repository = f"shop/{self.instance}"
            self.pages[page] = f"{self.registry}/{repository}@{push_sample(self.registry, repository, page=page)}"
        return self.pages[page]

    async def fetch(self, replica: Replica) -> str:
        assert replica.address is not None
        host, _, port = replica.address.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        body = await reader.read()
        writer.close()
        await writer.wait_closed()
        return body.decode()
