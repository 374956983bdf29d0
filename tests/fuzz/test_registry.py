"""Answers of a registry that lies, over a real socket: read and checked, or one of our errors, never anything else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import attest
from pipeline.errors import EncliiError
from pipeline.images import OCI_INDEX, OCI_MANIFEST, Descriptor, sha256
from pipeline.registry import Registry
from tests.fuzz.inputs import broken, documents, fuzzed
from tests.integration.test_registry_faults import _answer, _speaking

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

AT_ONCE = 16
LIMIT = 120.0
DIGEST = "sha256:" + "a" * 64
INDEX = attest.merged_index(None, [Descriptor(OCI_MANIFEST, DIGEST, 1)]) or b""
TAGS = json.dumps({"name": "shop/web", "tags": ["v1", "v2"]}).encode()
TOKEN = json.dumps({"token": "t", "expires_in": 60, "issued_at": "2024-01-01T00:00:00Z"}).encode()
STATUS = st.sampled_from(["200 OK", "200 OK", "206 Part", "401 Who", "403 No", "404 Gone", "307 There"])
HEADER = st.sampled_from([
    f"Content-Type: {OCI_INDEX}", "Content-Type: text/html", "Docker-Content-Digest: sha256:x", "Link: <",
    "Link: <?n=1>; rel=next", "Link: <http://[>; rel=next", "Link: <ftp://127.0.0.1/>; rel=next", "Location: http://[::1",
    "Location: ", "Location: http://127.0.0.1:1/", "WWW-Authenticate: Basic", "WWW-Authenticate: Bearer",
    "Retry-After: soon",
    'WWW-Authenticate: Bearer realm="http://127.0.0.1:1/",service="a\\"', 'WWW-Authenticate: Bearer realm="',
    "Content-Encoding: gzip", "Transfer-Encoding: chunked", "Content-Length: -1", "Content-Length: 99999999999999999",
])  # fmt: skip
SOUND = [INDEX, TAGS, TOKEN]
ANSWER = st.builds(_answer, STATUS, documents(SOUND) | st.sampled_from(SOUND), st.lists(HEADER, max_size=3))
RAW = broken([_answer("200 OK", INDEX), _answer("200 OK", TAGS, ["Link: </v2/x>; rel=next"])])


@settings(fuzzed, max_examples=-(-fuzzed.max_examples // AT_ONCE))
@given(st.lists(ANSWER | ANSWER | ANSWER | RAW, min_size=AT_ONCE, max_size=AT_ONCE))
def test_whatever_a_registry_answers_is_read_or_one_of_our_errors(answers: list[bytes]) -> None:
    asyncio.run(asked(answers))


async def asked(answers: list[bytes]) -> None:
    """Each answer to all that a repository of its own is asked."""

    def script(_method: str, path: str, _headers: dict[str, str]) -> bytes:
        return answers[int(path.split("/web-")[1].split("/")[0])] if "/web-" in path else answers[0]

    async with _speaking(script) as (host, _), asyncio.timeout(LIMIT):
        await asyncio.gather(*(_of_one(host, f"shop/web-{number}") for number in range(len(answers))))


async def _of_one(host: str, repository: str) -> None:
    async with Registry(host, plain_http=True, timeout=5) as registry:
        for call in (
            registry.manifest(repository, "v1"), registry.blob(repository, DIGEST, limit=1_000),
            registry.tags(repository), registry.lists_referrers(repository, DIGEST),
        ):  # fmt: skip
            await _ours(call)


async def _ours(call: Awaitable[object]) -> None:
    try:
        found = await call
    except EncliiError:
        return
    assert not isinstance(found, bytes) or sha256(found) == DIGEST
