"""The backstop in a cluster: policies that let no image of Enclii's registry in that nobody accepted has signed.

The gate has judged before the config commit; these refuse what reaches the cluster another way. Both tools read the
older form of the signature, the only one in which they verify a plain key reliably.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gitops.wiring import Document
from gitops.wiring.sigstore_root import Instance
from pipeline.errors import Invalid
from pipeline.images import registry_host

NAME = "enclii-signed"
LIMIT = 30
"""Seconds that the API server waits for the webhook, the most that it allows: a registry may be slow."""


@dataclass(frozen=True)
class Identity:
    """Who signs without a key, by which Sigstore."""

    subject: str
    issuer: str
    instance: Instance


@dataclass(frozen=True)
class Accepted:
    """Whose signatures are let in, any one of them: ``keys`` in PEM, several while one is rotated, or an identity."""

    keys: Sequence[str] = ()
    identity: Identity | None = None

    def __post_init__(self) -> None:
        if not self.keys and self.identity is None:
            raise Invalid("a policy that accepts nobody would let no pod in", reason="nobody_accepted")


def kyverno(accepted: Accepted, registries: Sequence[str]) -> tuple[Document, ...]:
    """A ClusterPolicy for Kyverno. Raises Invalid for what is no registry."""
    entries: list[Mapping[str, Any]] = [
        {"keys": {"publicKeys": key, "rekor": {"ignoreTlog": True}, "ctlog": {"ignoreSCT": True}}}
        for key in accepted.keys
    ]
    if accepted.identity is not None:
        entries.append({"keyless": _keyless(accepted.identity)})
    rule = {
        "name": "signed-by-enclii",
        "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
        "verifyImages": [
            {
                "type": "Cosign",
                "imageReferences": [f"{registry_host(one)}/*" for one in registries],
                "failureAction": "Enforce",
                "required": True,
                "mutateDigest": False,
                "verifyDigest": True,
                "attestors": [{"count": 1, "entries": entries}],
            }
        ],
    }
    spec = {
        "background": False,
        "failurePolicy": "Fail",
        "webhookConfiguration": {"timeoutSeconds": LIMIT},
        "rules": [rule],
    }
    return ({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": NAME}, "spec": spec},)


def _keyless(identity: Identity) -> dict[str, Any]:
    at = identity.instance
    return {
        "subject": identity.subject,
        "issuer": identity.issuer,
        "roots": at.roots,
        "rekor": {"url": at.log_url, "pubkey": at.log_key},
        "ctlog": {"pubkey": at.certificates_key},
    }


def policy_controller(accepted: Accepted, registries: Sequence[str]) -> tuple[Document, ...]:
    """A ClusterImagePolicy for sigstore's policy-controller, and the TrustRoot of a Sigstore that it names.

    It judges in namespaces that are labelled for it; one authority of several is enough to it.
    """
    named = ["enclii", *(f"enclii-{number}" for number in range(2, len(accepted.keys) + 1))]
    authorities: list[Mapping[str, Any]] = [
        {"name": name, "key": {"data": key, "hashAlgorithm": "sha256"}}
        for name, key in zip(named, accepted.keys, strict=False)
    ]
    roots: tuple[Document, ...] = ()
    if accepted.identity is not None:
        at = accepted.identity.instance
        who = {"issuer": accepted.identity.issuer, "subject": accepted.identity.subject}
        keyless = {"url": at.authority_url, "identities": [who], "trustRootRef": NAME}
        log = {"url": at.log_url, "trustRootRef": NAME}
        authorities.append({"name": "enclii-identity", "keyless": keyless, "ctlog": log})
        roots = (_trust_root(at),)
    spec = {
        "images": [{"glob": f"{registry_host(one)}/**"} for one in registries],
        "mode": "enforce",
        "authorities": authorities,
    }
    policy = {
        "apiVersion": "policy.sigstore.dev/v1beta1",
        "kind": "ClusterImagePolicy",
        "metadata": {"name": NAME},
        "spec": spec,
    }
    return (*roots, policy)


def _trust_root(at: Instance) -> Document:
    """What the controller keeps as bytes is base64 in its YAML."""

    def log(url: str, key: str) -> dict[str, str]:
        return {"baseURL": url, "hashAlgorithm": "sha-256", "publicKey": _b64(key)}

    subject = {"organization": at.organization, "commonName": at.common_name}
    keys = {
        "certificateAuthorities": [{"subject": subject, "uri": at.authority_url, "certChain": _b64(at.roots)}],
        "tLogs": [log(at.log_url, at.log_key)],
        "ctLogs": [log(at.certificates_url, at.certificates_key)],
    }
    return {
        "apiVersion": "policy.sigstore.dev/v1alpha1",
        "kind": "TrustRoot",
        "metadata": {"name": NAME},
        "spec": {"sigstoreKeys": keys},
    }


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


TOOLS: Mapping[str, Callable[[Accepted, Sequence[str]], tuple[Document, ...]]] = {
    "kyverno": kyverno,
    "policy-controller": policy_controller,
}
