"""cosign, the judge of every signature and attestation."""

from __future__ import annotations

import subprocess
from pathlib import Path

from pipeline.images import ImageRef
from tests.support.components import needs


def cosign(
    public_key: Path, image: ImageRef, *, kind: str = "", older: bool = False
) -> subprocess.CompletedProcess[str]:
    """``kind``: the predicate to verify; empty for the signature. ``older``: in its older form only."""
    verb = ["verify-attestation", "--type", kind] if kind else ["verify"]
    verb += ["--new-bundle-format=false"] if older else []
    argv = [needs("cosign"), *verb, "--key", str(public_key), "--insecure-ignore-tlog", str(image)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)


def cosign_identity(
    root: Path, image: ImageRef, *, subject: str, issuer: str, kind: str = "", older: bool = False
) -> subprocess.CompletedProcess[str]:
    """As ``cosign``, for what an identity signed, by the TrustedRoot in a file alone."""
    verb = ["verify-attestation", "--type", kind] if kind else ["verify"]
    verb += ["--new-bundle-format=false"] if older else []
    who = ["--certificate-identity", subject, "--certificate-oidc-issuer", issuer, "--trusted-root", str(root)]
    argv = [needs("cosign"), *verb, *who, str(image)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
