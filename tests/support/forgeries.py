"""How a sound provenance is made into a forged one: in its bundle, its envelope, its signature or its statement.

The tables are ``forged_bundles``, ``forged_signatures`` and ``forged_statements``: one each for the unit tests, for the
real registry and for cosign as the judge of both. What is wrong with how bundles lie beside an image is
``forged_repositories``.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipeline import attest
from pipeline.images import ImageRef
from pipeline.keys import SigningKey

SOURCE = "https://forge.example/shop/web"
SHA = "a" * 40
BUILDER = "https://enclii.example/builder/test"
SPDX = json.dumps({"spdxVersion": "SPDX-2.3", "name": "web", "packages": []}).encode()
CYCLONEDX = json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": []}).encode()
MALFORMED = "malformed_attestation"

Build = Callable[[SigningKey, ImageRef], bytes]
Change = Callable[[dict[str, Any]], Any]


@dataclass(frozen=True)
class Case:
    """One bundle; ``reason`` is empty for what must be taken, ``cosign`` says why cosign takes what we refuse."""

    name: str
    build: Build
    reason: str = ""
    cosign: str = ""


def facts(*, source_url: str = SOURCE, sha: str = SHA, builder_id: str = BUILDER) -> attest.Provenance:
    """A build of the test image."""
    return attest.Provenance(
        source_url=source_url,
        ref="refs/heads/main",
        sha=sha,
        path="web",
        kind="dockerfile",
        build_args={"COLOR": "blue"},
        builder_id=builder_id,
        invocation_id="r-1",
        started_at="2026-01-02T03:04:05Z",
        finished_at="2026-01-02T03:04:06Z",
        bases=[("pkg:docker/debian@12", "sha256:" + "b" * 64)],
        log_digest="sha256:" + "c" * 64,
    )


def sealed(key: SigningKey, payload: bytes) -> bytes:
    """A sound bundle around any payload."""
    return attest.bundle(payload, key.sign(attest.pae(payload)), key.public.hint)


def in_statement(change: Change) -> Build:
    """A sound bundle around a changed statement; ``change`` edits in place, or returns bytes to sign instead."""

    def build(key: SigningKey, image: ImageRef) -> bytes:
        document = json.loads(attest.provenance_statement(image, facts()))
        changed = change(document)
        return sealed(key, changed if isinstance(changed, bytes) else attest.compact(document))

    return build


def in_bundle(change: Change) -> Build:
    """A changed bundle around a sound statement; ``change`` edits in place, or returns the bytes to take instead."""

    def build(key: SigningKey, image: ImageRef) -> bytes:
        document = json.loads(sealed(key, attest.provenance_statement(image, facts())))
        changed = change(document)
        return changed if isinstance(changed, bytes) else attest.compact(document)

    return build


def put(*path: str | int, to: Any) -> Change:
    """Set one member."""

    def change(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        document[path[-1]] = to

    return change


def drop(*path: str | int) -> Change:
    """Take one member away."""

    def change(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        del document[path[-1]]

    return change


def renamed(old: str, new: str) -> Change:
    """Give one member of the document another name."""
    return lambda document: document.update({new: document.pop(old)})


def reworded(old: str, new: str) -> Change:
    """The document's text with every ``old`` in it replaced: for what no parsed document can hold."""

    def change(document: dict[str, Any]) -> bytes:
        text = attest.compact(document).decode()
        assert old in text, f"{old} is not in the document"
        return text.replace(old, new).encode()

    return change


def twice(name: str) -> Change:
    """One member of the document a second time."""
    return lambda document: (
        attest.compact(document)[:-1] + f',"{name}":'.encode() + attest.compact(document[name]) + b"}"
    )


def signatures(change: Callable[[dict[str, Any]], Any]) -> Change:
    """What the envelope holds for signatures, made from its only one."""

    def edit(document: dict[str, Any]) -> None:
        envelope = document["dsseEnvelope"]
        envelope["signatures"] = change(envelope["signatures"][0])

    return edit


def pretty(document: dict[str, Any]) -> bytes:
    """The same document in other bytes."""
    return json.dumps(document, indent=2, sort_keys=True).encode()


def decoded(document: dict[str, Any]) -> bytearray:
    """The signed payload of a bundle."""
    return bytearray(base64.b64decode(document["dsseEnvelope"]["payload"]))
