"""Names and ids: what may come from outside as a name, and how ids and subject tokens are made of names.

A name is checked once, here, and may then be a path component, a label value or a part of an id. It never becomes a
subject token: those are hashes, because branches and repositories contain the characters that subjects reserve.
"""

from __future__ import annotations

import base64
import hashlib
import re

from pipeline.errors import Invalid

NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?")
SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
BRANCH_PREFIX = "refs/heads/"
_BAD_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|\.lock(?:/|$)|^[/.]|/\.|[/.]$")


def name(text: str, *, what: str = "name") -> str:
    """Return ``text`` if it is a name: 1 to 40 of a-z, 0-9 and inner hyphens, a letter first. Raises Invalid."""
    if not NAME.fullmatch(text):
        raise Invalid(
            f"{what} {text[:60]!r}: use 1 to 40 of a-z, 0-9 and -, a letter first, no hyphen last", reason="bad_name"
        )
    return text


def sha(text: str) -> str:
    """Return ``text`` if it is a full commit id in lower-case hex. Raises Invalid."""
    if not SHA.fullmatch(text):
        raise Invalid(f"{text[:80]!r} is not a full commit id", reason="bad_sha")
    return text


def ref(text: str) -> str:
    """Return ``text`` if git would accept it as a full ref name (git-check-ref-format). Raises Invalid."""
    if not text.startswith("refs/") or len(text) > 512 or _BAD_REF.search(text):
        raise Invalid(f"{text[:80]!r} is not a ref", reason="bad_ref")
    return text


def is_zero(text: str) -> bool:
    """True for the all-zero id by which git and forges say "does not exist"."""
    return set(text) == {"0"}


def branch(ref_name: str) -> str | None:
    """The branch of ``refs/heads/…``; None for tags and other refs."""
    return ref_name.removeprefix(BRANCH_PREFIX) if ref_name.startswith(BRANCH_PREFIX) else None


def token(*parts: str) -> str:
    """26 characters of a-z2-7 that stand for ``parts``: a subject token or an id's tail (130 bits of SHA-256)."""
    digest = hashlib.sha256("\x00".join(parts).encode()).digest()
    return base64.b32encode(digest[:20]).decode().lower()[:26]  # 5 bytes at a time, of which 20 are enough


def run_id(delivery: str, attempt: int = 0) -> str:
    """The id of the run that a delivery starts; the same delivery always starts the same run."""
    return "r-" + token("run", delivery, str(attempt))[:12]


def service_id(project: str, service: str) -> str:
    """``shop.web``: names hold no dots, so the two parts can be told apart."""
    return f"{project}.{service}"


def release_id(project: str, service: str, number: int, *, preview: str = "") -> str:
    """``shop.web.v41``; of a preview, which counts for itself, ``shop.web.preview-12.v3``."""
    return ".".join(part for part in (project, service, preview, f"v{number}") if part)


def deployment_id(config_commit: str, project: str, environment: str, service: str) -> str:
    """The id of what one config commit says of one service in one environment; anybody can compute it from git."""
    return "d-" + token("deployment", config_commit, project, environment, service)[:12]


def split_service_id(text: str) -> tuple[str, str]:
    """(project, service) of ``shop.web``. Raises Invalid."""
    project, _, service = text.partition(".")
    return name(project, what="project"), name(service, what="service")
