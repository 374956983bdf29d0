"""The verification summary: a verifier's signed word that an image fulfils a policy, for those who ask later.

Follows SLSA's ``verification_summary/v1``. It is signed by the committer's own key, never by the one that signs images:
who judges is not who built.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline import attest
from pipeline.images import ImageRef, digest

SLSA_VERSION = "1.2"
LEVELS = ("SLSA_BUILD_LEVEL_1",)
"""What builds on a machine that the platform's owner shares with them can claim, and no more."""


@dataclass(frozen=True)
class Summary:
    """One judgement. ``inputs`` are digests of the attestations that were read; ``verified_at`` is RFC 3339."""

    verifier: str
    verified_at: str
    policy_uri: str
    policy_digest: str
    inputs: Sequence[str]
    passed: bool


def statement(image: ImageRef, summary: Summary) -> bytes:
    """The summary as an in-toto statement about ``image``."""
    repository = f"{image.registry}/{image.repository}"
    predicate = {
        "verifier": {"id": summary.verifier},
        "timeVerified": summary.verified_at,
        "resourceUri": f"pkg:docker/{image.repository}@{image.digest}?repository_url={repository}",
        "policy": {"uri": summary.policy_uri, "digest": _digest_set(summary.policy_digest)},
        "inputAttestations": [{"digest": _digest_set(one)} for one in sorted(summary.inputs)],
        "verificationResult": "PASSED" if summary.passed else "FAILED",
        "verifiedLevels": list(LEVELS) if summary.passed else [],
        "slsaVersion": SLSA_VERSION,
    }
    return attest.statement(image, attest.SUMMARY, predicate)


def _digest_set(text: str) -> dict[str, str]:
    return {"sha256": digest(text).removeprefix("sha256:")}
