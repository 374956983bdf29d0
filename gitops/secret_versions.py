"""Which versions of a service's secrets the cluster still keeps: one rule for who forgets and for who goes back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from pipeline.records import Deployment, Target

KEPT_DEPLOYMENTS = 10


def outdated(target: Target, deployments: Iterable[Deployment]) -> list[int]:
    """The versions that may go: named by a deployment once, and now by neither git nor one of the last ten."""
    committed = sorted((one for one in deployments if one.config_commit), key=lambda one: one.created_at)
    ever = {number for one in committed for number in one.secrets.values()}
    if not target.tree:
        return sorted(ever)
    named = {one.version for one in target.secrets.values()}
    named |= {number for one in committed[-KEPT_DEPLOYMENTS:] for number in one.secrets.values()}
    return sorted(ever - named)


def referred(manifests: Iterable[bytes], service: str) -> frozenset[int]:
    """The versions that a service's manifests ask the cluster for."""
    wanted = re.compile(rb"(?<![a-z0-9-])%s-secrets-v([0-9]{1,9})\b" % re.escape(service.encode()))
    return frozenset(int(number) for data in manifests for number in wanted.findall(data))


def forgotten(
    to: Deployment, files: Mapping[str, bytes], *, target: Target, deployments: Sequence[Deployment]
) -> dict[str, int]:
    """The secrets, by name, without which the manifests of an earlier deployment cannot start any more."""
    gone = referred(files.values(), to.service) & frozenset(outdated(target, deployments))
    return {name: number for name, number in sorted(to.secrets.items()) if number in gone}
