"""The backstop in a cluster: policies that let no image of Enclii's registry in which its key did not sign.

The gate has judged before the config commit; these refuse what reaches the cluster another way. Both tools read the
older form of the signature, the only one in which they verify a plain key reliably.
"""

from __future__ import annotations

from collections.abc import Sequence

from gitops.wiring import Document
from pipeline.images import registry_host

NAME = "enclii-signed"
LIMIT = 30
"""Seconds that the API server waits for the webhook, the most that it allows: a registry may be slow."""


def kyverno(key: str, registries: Sequence[str]) -> Document:
    """A ClusterPolicy for Kyverno. ``key`` is the public key in PEM. Raises Invalid for what is no registry."""
    attestor = {"keys": {"publicKeys": key, "rekor": {"ignoreTlog": True}, "ctlog": {"ignoreSCT": True}}}
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
                "attestors": [{"count": 1, "entries": [attestor]}],
            }
        ],
    }
    spec = {
        "background": False,
        "failurePolicy": "Fail",
        "webhookConfiguration": {"timeoutSeconds": LIMIT},
        "rules": [rule],
    }
    return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": NAME}, "spec": spec}


def policy_controller(key: str, registries: Sequence[str]) -> Document:
    """A ClusterImagePolicy for sigstore's policy-controller; it judges in namespaces that are labelled for it."""
    spec = {
        "images": [{"glob": f"{registry_host(one)}/**"} for one in registries],
        "mode": "enforce",
        "authorities": [{"name": "enclii", "key": {"data": key, "hashAlgorithm": "sha256"}}],
    }
    return {
        "apiVersion": "policy.sigstore.dev/v1beta1",
        "kind": "ClusterImagePolicy",
        "metadata": {"name": NAME},
        "spec": spec,
    }


TOOLS = {"kyverno": kyverno, "policy-controller": policy_controller}
