"""Names of images and of what lies beside them in a registry: checked once, here, and safe in a URL or a file after.

An image is always named by digest; a tag may move between the check and the use.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from pipeline.errors import Invalid

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:]{{2,39}}\])(?::[0-9]{{1,5}})?")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


def sha256(data: bytes) -> str:
    """The digest of ``data`` as a registry writes it."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest(text: str) -> str:
    """Return ``text`` if it is ``sha256:`` and 64 lower-case hex digits. Raises Invalid."""
    if not _DIGEST.fullmatch(text):
        raise Invalid(f"{text[:80]!r} is not a sha256 digest", reason="bad_digest")
    return text


def registry_host(text: str) -> str:
    """Return ``text`` if it is a host, with or without a port. Raises Invalid."""
    if len(text) > 255 or not _HOST.fullmatch(text):
        raise Invalid(f"{text[:80]!r} is not a registry's host and port", reason="bad_registry")
    return text


def repository(text: str) -> str:
    """Return ``text`` if it is a repository name by the distribution specification. Raises Invalid."""
    if len(text) > 255 or not _REPOSITORY.fullmatch(text):
        raise Invalid(f"{text[:80]!r} is not a repository name", reason="bad_repository")
    return text


def reference(text: str) -> str:
    """Return ``text`` if it is a tag or a digest. Raises Invalid."""
    if not _TAG.fullmatch(text) and not _DIGEST.fullmatch(text):
        raise Invalid(f"{text[:80]!r} is neither a tag nor a digest", reason="bad_reference")
    return text


def fallback_tag(image_digest: str) -> str:
    """The tag under which a registry without a referrers API keeps the list of an image's referrers."""
    return digest(image_digest).replace(":", "-")


@dataclass(frozen=True)
class ImageRef:
    """``registry/repository@digest``."""

    registry: str
    repository: str
    digest: str

    def __post_init__(self) -> None:
        registry_host(self.registry)
        repository(self.repository)
        digest(self.digest)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what ``str()`` writes. Raises Invalid for a tag, a missing registry or anything else."""
        name, at, image_digest = text.partition("@")
        host, slash, path = name.partition("/")
        if not at or not slash:
            raise Invalid(f"{text[:120]!r} is not registry/repository@sha256:…", reason="bad_image")
        return cls(host, path, image_digest)

    def __str__(self) -> str:
        return f"{self.registry}/{self.repository}@{self.digest}"


@dataclass(frozen=True)
class Descriptor:
    """What one piece of content is, how large it is and where it is found."""

    media_type: str
    digest: str
    size: int
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)

    def document(self) -> dict[str, Any]:
        """The descriptor as JSON; empty members are left out."""
        document: dict[str, Any] = {"mediaType": self.media_type, "size": self.size, "digest": self.digest}
        if self.annotations:
            document["annotations"] = dict(self.annotations)
        if self.artifact_type:
            document["artifactType"] = self.artifact_type
        return document


@dataclass(frozen=True)
class Manifest:
    """A manifest or index in its exact bytes: the digest is of these, never of a re-serialisation."""

    digest: str
    media_type: str
    body: bytes

    def descriptor(self) -> Descriptor:
        """How another object names this one."""
        return Descriptor(self.media_type, self.digest, len(self.body))
