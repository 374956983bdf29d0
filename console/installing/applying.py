"""An install that applies: nothing before all that it needs is there, then in waves, then until everything is ready.

Each wave is one server-side apply under our own manager, so an install that was interrupted is continued by running it
again, and what others set stays theirs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from console.installing import documents, health, presence, references
from console.installing.documents import Document
from console.installing.kubectl import MANAGER, Kubectl
from console.installing.presence import APPLYING, INSTALLED
from console.installing.rendering import INSTANCE, MARK, Plan, render, settings_of
from pipeline.errors import Refused, Unavailable

PAUSE: Final = 2.0
SCALERS: Final = ("HorizontalPodAutoscaler", "ScaledObject")
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Way:
    """How to install: ``limit`` in seconds for everything to become ready; 0: do not wait."""

    beside: bool = False
    limit: float = 600.0


async def install(plan: Plan, kubectl: Kubectl, way: Way, tell: Tell) -> list[str]:
    """Make it so; the documents that were left out because the cluster does not know their kind.

    Raises Invalid, Refused and Unavailable before anything is applied; Refused for what the cluster does not take, and
    Unavailable when not everything became ready. The same call again goes on from there.
    """
    found = await render(plan, kubectl)
    instance = settings_of(found).get(INSTANCE, "")
    before = await presence.refuse_second(kubectl, namespace=plan.namespace, instance=instance, beside=way.beside)
    if lacking := await presence.absent(kubectl, found):
        told = "\n  ".join(lacking)
        ways = "\n  ".join(dict.fromkeys(references.remedy(one, plan.namespace) for one in lacking))
        raise Refused(
            f"nothing was applied, because what it refers to is not there:\n  {told}\n"
            f"What makes it (docs/install.md):\n  {ways}",
            reason="secret_missing",
        )
    if before is not None:
        tell(f"going on with {before.told}" if before.phase == APPLYING else f"upgrading {before.told}")
    kinds = await kubectl.kinds()
    known = [one for one in found if f"{one['apiVersion']}/{one['kind']}" in kinds]
    await _apply_all(unscaled(known), kubectl, tell)
    if way.limit:
        await wait(kubectl, (plan.namespace, f"{plan.namespace}-builds"), limit=way.limit, tell=tell)
    await _apply([_phased(one, INSTALLED) for one in found if _is_mark(one)], kubectl)
    return sorted({one["kind"] for one in found if one not in known})


async def _apply_all(known: Sequence[Document], kubectl: Kubectl, tell: Tell) -> None:
    for name, wave in waves([_phased(one, APPLYING) if _is_mark(one) else one for one in known]):
        await _apply(wave, kubectl)
        tell(f"{name}: {len(wave)} applied")


def waves(found: Iterable[Document]) -> list[tuple[str, list[Document]]]:
    """Namespaces with the mark of what is going on; what pods need; pods, and what acts on them."""
    split: dict[str, list[Document]] = {"namespaces": [], "configuration": [], "workloads": []}
    for one in found:
        first = one["kind"] == "Namespace" or _is_mark(one)
        later = documents.is_workload(one) or one["kind"] in SCALERS
        split["namespaces" if first else "workloads" if later else "configuration"].append(one)
    return list(split.items())


def unscaled(found: Sequence[Document]) -> list[Document]:
    """Without the number of replicas where an autoscaler among them decides it: an upgrade must not take it back."""
    targets = {
        (one["metadata"]["namespace"], one["spec"]["scaleTargetRef"].get("kind", "Deployment"),
         one["spec"]["scaleTargetRef"]["name"])
        for one in found
        if one["kind"] in SCALERS
    }  # fmt: skip
    return [_without_replicas(one) if _place(one) in targets else one for one in found]


def _place(document: Document) -> tuple[str, str, str]:
    kind, namespace, name = documents.identity(document)
    return namespace, kind, name


def _without_replicas(document: Document) -> Document:
    return {**document, "spec": {key: value for key, value in document["spec"].items() if key != "replicas"}}


def _is_mark(document: Document) -> bool:
    kind, _, name = documents.identity(document)
    return (kind, name) == ("ConfigMap", MARK)


def _phased(mark: Document, phase: str) -> Document:
    return {**mark, "data": {**mark["data"], "phase": phase}}


async def _apply(found: Sequence[Document], kubectl: Kubectl) -> None:
    words = ("apply", "--server-side", "--field-manager", MANAGER, "-f", "-")
    await kubectl.call(*words, stdin=documents.write(found).encode())


async def wait(kubectl: Kubectl, namespaces: tuple[str, ...], *, limit: float, tell: Tell) -> None:
    """Until every workload is ready; what keeps one is told when it changes. Raises Unavailable after ``limit`` s."""
    deadline = asyncio.get_running_loop().time() + limit
    told: frozenset[str] = frozenset()
    while late := await health.late(kubectl, namespaces):
        now = frozenset(one.told for one in late if one.why)
        for line in sorted(now - told):
            tell(line)
        told |= now
        if asyncio.get_running_loop().time() > deadline:
            lines = "\n  ".join(one.told for one in late)
            raise Unavailable(
                f"everything is applied, but after {limit:g} s not everything is ready:\n  {lines}\n"
                "enclii doctor --cluster tells more; the same command again goes on",
                reason="not_ready",
            )
        await asyncio.sleep(PAUSE)
