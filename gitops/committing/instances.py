"""Which Enclii wrote a commit, so that two of them never take turns on one config repository.

An installation is known by the fingerprint of its verification key: it stays when the event store is lost, and another
installation has another one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable

from gitops.committing.edits import Commit
from pipeline.records import Decision
from pipeline.store import now

TRAILER = "Instance"
FINDING = "config/another_instance"


def fingerprint(public_key: bytes) -> str:
    """Of a public key in PEM."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def named(instance: str, own: str) -> str:
    """The trailer's value."""
    return f"{instance} {own}"


def stranger(commits: Iterable[Commit], known: Collection[str]) -> Commit | None:
    """The newest of ``commits`` (oldest first) by an Enclii that is not known; one that says none is known."""
    if not known:
        return None
    found = [one for one in commits if (said := one.trailers.get(TRAILER)) and said.rpartition(" ")[2] not in known]
    return found[-1] if found else None


def message(commit: Commit) -> str:
    """What a person should know and do."""
    who = commit.trailers.get(TRAILER, "")
    return (
        f"another Enclii ({who}) writes this config repository, last by {commit.id[:12]}; stop one of the two, or"
        " name its fingerprint in ENCLII_CONFIG_INSTANCES if it is gone for good"
    )


def finding(commit: Commit) -> Decision:
    """That nothing is written for now, and why."""
    return Decision(
        id=FINDING, about="commit", outcome="failed", reason="another_instance",
        message=message(commit), sha=commit.id, actor=commit.author, at=now(),
    )  # fmt: skip
