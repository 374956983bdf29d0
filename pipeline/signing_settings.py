"""The settings of signing and of what is accepted as signed: a part of the one table, see ``settings``."""

# ruff: noqa: RUF009 - as in settings

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline import parsing
from pipeline.setting import setting

_VERIFIERS = "signer committer syncer console"


@dataclass(frozen=True, kw_only=True)
class SigningSettings:
    """Where the key is, or who signs without one, and which signatures are accepted."""

    signing_key: Path = setting(
        parsing.path, "keys/signing.key", "ECDSA P-256 private key; made at first start when absent", to="signer"
    )
    signing_uri: str = setting(
        parsing.text,
        "",
        "what signs instead: a key in an HSM, a Vault or a KMS (hsm:, hv:, awskms:, gcpkms:, azurekms:), or keyless:",
        to="signer console",
    )
    signing_environment: Path = setting(
        parsing.path, "keys/signing.env", "what that key's library wants in its environment, and the HSM's PIN",
        to="signer",
    )  # fmt: skip
    verify_key: Path = setting(
        parsing.path, "keys/signing.pub", "public key that releases are checked with", to=_VERIFIERS
    )
    verify_keys: tuple[Path, ...] = setting(
        parsing.paths, "keys/accepted", "further public keys that are accepted: files, or folders of *.pub",
        to=_VERIFIERS,
    )  # fmt: skip
    retired_keys: tuple[Path, ...] = setting(
        parsing.paths, "keys/retired", "public keys that are accepted no more: files, or folders of *.pub",
        to=_VERIFIERS,
    )  # fmt: skip
    keyless_identity: str = setting(
        parsing.text, "", "who signs without a key: the certificate's subject alternative name", to=_VERIFIERS
    )
    keyless_issuer: str = setting(
        parsing.text, "", "the OIDC issuer that vouches for that identity", to=_VERIFIERS
    )  # fmt: skip
    sigstore_root: Path = setting(
        parsing.path, "keys/trusted_root.json", "Sigstore's TrustedRoot: its authorities and logs", to=_VERIFIERS
    )
    identity_token: str = setting(
        parsing.text, "keys/identity.token", "file with the OIDC token, read for each certificate; or ambient",
        to="signer",
    )  # fmt: skip
    fulcio_url: str = setting(
        parsing.url("http", "https"), "https://fulcio.sigstore.dev", "certificate authority of keyless signing",
        to="signer",
    )  # fmt: skip
    rekor_url: str = setting(
        parsing.url("http", "https"), "https://rekor.sigstore.dev", "transparency log of keyless signing",
        to="signer",
    )  # fmt: skip
    verifier_key: Path = setting(
        parsing.path, "keys/verifier.key", "key that signs verification summaries; made when absent", to="committer"
    )
    verifier_id: str = setting(
        parsing.url("http", "https"),
        "https://enclii.dev/verifiers/one-machine",
        "what verification summaries name as the verifier",
        to="committer",
    )
    builder_id: str = setting(
        parsing.url("http", "https"),
        "https://enclii.dev/builders/one-machine",
        "what provenance names as the builder",
        to="builder signer committer syncer console",
    )
