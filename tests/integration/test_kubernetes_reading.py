"""Manifests are read by our own syncer as kubectl reads them: kubectl is the judge."""

from __future__ import annotations

import json

from gitops.syncing import manifest
from tests.support.kubernetes import kubectl

AS_WRITTEN = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: values}
numbers: [0644, 0o644, 0x1F, 0b11, 1_000, 08, 09.5, 1e3, .5, 5., +5, -0644, 1.10, 12e03, 00, -0, 685_230.15]
texts: [1:30, 2026-01-01, 2026-01-01T10:00:00Z, 1.2.3, 0x, 1e, _1, =, "yes", '0644', !!str 5, tRUE, .e3]
words: [yes, No, y, on, OFF, ~, null, True]
keys: {y: 1, 5: 2, 1.5: 3, 0644: 4}
merged: [&a {p: 1}, *a, {<<: *a, q: 2}, {p: 2, <<: *a}, {<<: [*a, {p: 3, z: 4}]}]
"""


def test_a_manifest_is_read_as_kubectl_reads_it() -> None:
    words = ("create", "--dry-run=client", "--validate=false", "-o", "json", "-f", "-")
    theirs = json.loads(kubectl(*words, stdin=AS_WRITTEN))
    (ours,) = manifest.documents(AS_WRITTEN.encode())

    for key in ("numbers", "texts", "words", "keys", "merged"):
        assert json.dumps(ours[key], sort_keys=True) == json.dumps(theirs[key], sort_keys=True)
