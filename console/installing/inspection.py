"""What ``enclii doctor --cluster`` finds out: what is missing, not ready, too many, too few or too late."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from console.installing import documents, health, presence, references
from console.installing.kubectl import Kubectl
from console.installing.presence import APPLYING, Installation
from console.installing.rendering import OF_ENCLII
from gitops.clusters import Finding
from pipeline.errors import EncliiError
from pipeline.rights import USERS, difference

SKEW: Final = 10.0
"""Seconds by which a clock may be off: tokens and certificates are made with less to spare."""
ASK: Final = (
    "import os,urllib.request as r;"
    "print(r.urlopen('http://127.0.0.1:'+os.environ.get('ENCLII_OPS_PORT','9090')+'/rights',timeout=10).read().decode())"
)
_PERMISSIONS: Final = re.compile(r'\{user: "(\w+)", .*?permissions: (?=\{)')
_DATE: Final = re.compile(r"^.*?\bDate: ([A-Z][a-z]{2}, [^\r\n]+? GMT)", re.MULTILINE)


async def inspect(kubectl: Kubectl, namespace: str) -> list[Finding]:
    """Everything that can be said of the installation in ``namespace``. Raises Unavailable without a cluster."""
    marks = await presence.installations(kubectl)
    found = [*await _clock(kubectl), *others(marks, namespace)]
    here = next((one for one in marks if one.namespace == namespace), None)
    if here is None:
        text = f"there is no installation in namespace {namespace}"
        return [*found, Finding("error", "installation", text, "enclii install; -n NAME if it is elsewhere")]
    found.append(_finished(here))
    parts = (_objects(kubectl, here), _references(kubectl, here), _workloads(kubectl, here), _rights(kubectl, here))
    return found + [one for some in await asyncio.gather(*parts) for one in some]


def others(marks: Sequence[Installation], namespace: str) -> list[Finding]:
    """Installations beside the one in ``namespace``: apart by name, or each takes the other's services for its own."""
    own = {one.instance for one in marks if one.namespace == namespace}
    return [
        Finding("error", "installations", f"{one.told} has the same name {one.instance}", "set ENCLII_INSTANCE of one")
        if one.instance in own
        else Finding("warning", "installations", f"{one.told} is beside it", "remove what is not needed")
        for one in marks
        if one.namespace != namespace
    ]


def _finished(here: Installation) -> Finding:
    if here.phase == APPLYING:
        return Finding("error", "installation", f"{here.told}: an install was not finished", "run enclii install again")
    return Finding("ok", "installation", here.told)


async def _clock(kubectl: Kubectl) -> list[Finding]:
    said = await kubectl.call("get", "--raw", "/version", "-v=8", streams="both")
    return [skew(said, now=datetime.now(UTC))]


def skew(said: str, *, now: datetime) -> Finding:
    """How far this machine's clock is from the API server's, by the ``Date`` of its answer."""
    dates = _DATE.findall(said)
    if not dates:
        return Finding("warning", "clock", "the API server's answer has no date", "compare the clocks by hand")
    off = (now - parsedate_to_datetime(dates[-1])).total_seconds()
    if abs(off) > SKEW:
        return Finding("error", "clock", f"this machine and the API server are {off:+.0f} s apart", "run NTP on both")
    return Finding("ok", "clock", f"within {SKEW:g} s of the API server's")


async def _objects(kubectl: Kubectl, here: Installation) -> list[Finding]:
    """What was applied and is not there any more."""
    kinds = sorted({kind for kind, _, _ in here.objects})
    answers = await asyncio.gather(*(kubectl.get(kind, *_everywhere(here, kind)) for kind in kinds))
    there = {documents.identity(one) for some in answers for one in some}
    known = {kind for kind, answer in zip(kinds, answers, strict=True) if answer}
    gone = [one for one in here.objects if one not in there]
    found = [
        Finding("error", kind, f"{namespace}/{name} is gone".lstrip("/"), "run enclii install again")
        if kind in known or kind not in _OPTIONAL
        else Finding("warning", kind, f"{name} is not there: does the cluster know the kind?", "see docs/install.md")
        for kind, namespace, name in gone
    ]
    return found or [Finding("ok", "objects", f"all {len(here.objects)} are there")]


_OPTIONAL: Final = frozenset({"ServiceMonitor", "PodMonitor", "PrometheusRule", "ScaledObject"})


def _everywhere(here: Installation, kind: str) -> tuple[str, ...]:
    return ("--all-namespaces",) if any(one[0] == kind and one[1] for one in here.objects) else ()


async def _references(kubectl: Kubectl, here: Installation) -> list[Finding]:
    """Secrets and ConfigMaps that what runs refers to, and that are gone."""
    live = [one for space in spaces(here) for one in await kubectl.get("deployments,statefulsets", "-n", space)]
    lacking = await presence.absent(kubectl, live)
    return [
        Finding("error", "references", f"{one} is missing", references.remedy(one, here.namespace)) for one in lacking
    ] or [Finding("ok", "references", "every Secret and ConfigMap is there")]


def spaces(here: Installation) -> tuple[str, str]:
    """Its two namespaces."""
    return here.namespace, f"{here.namespace}-builds"


async def _workloads(kubectl: Kubectl, here: Installation) -> list[Finding]:
    late = await health.late(kubectl, spaces(here))
    return [Finding("error", one.name, one.told, _look(one)) for one in late] or [
        Finding("ok", "workloads", "all are rolled out and ready")
    ]


def _look(late: health.Late) -> str:
    there = f"kubectl -n {late.namespace}"
    return f"{there} describe pods; {there} logs {late.kind.lower()}/{late.name} --all-containers"


async def _rights(kubectl: Kubectl, here: Installation) -> list[Finding]:
    """By the configuration that the servers were given, and by what they tell each process that runs."""
    maps = await kubectl.get("configmaps", "-n", here.namespace, "-l", OF_ENCLII)
    mounted = {name for kind, _, name in here.objects if kind == "ConfigMap"}
    confs = [
        one["data"]["nats.conf"] for one in maps if one["metadata"]["name"] in mounted and "nats.conf" in one["data"]
    ]
    pods = await kubectl.get("pods", "-n", here.namespace, "-l", OF_ENCLII)
    answers = await asyncio.gather(*(_asked(kubectl, one) for one in pods if _is_process(one)))
    found = [*configured(confs[0] if confs else ""), *(one for some in answers for one in some)]
    return list(dict.fromkeys(found)) or [
        Finding("ok", "NATS rights", "every user has those that it needs, and no more")
    ]


def configured(conf: str) -> list[Finding]:
    """What users have too few or too many of by a server's configuration."""
    try:
        given = {one[1]: json.JSONDecoder().raw_decode(conf, one.end())[0] for one in _PERMISSIONS.finditer(conf)}
    except ValueError:
        return [Finding("error", "NATS rights", "nats.conf is not as Enclii writes it", REWRITE)]
    found = [
        Finding("error", "NATS rights", f"NATS has no user {user}", REWRITE) for user in USERS if user not in given
    ]
    for user in given:
        if user not in USERS:
            found.append(Finding("warning", "NATS rights", f"NATS user {user} is nobody's", REWRITE))
        else:
            unlike = difference(user, given[user])
            found += told(user, unlike.few, unlike.many)
    return found


REWRITE: Final = "run enclii install again: it writes the rights that this version needs"


def told(user: str, few: Sequence[str], many: Sequence[str]) -> list[Finding]:
    """Too few stop the process; too many only let it do what it has no need of."""
    found = []
    if few:
        text = f"NATS user {user} may not, though it must: {', '.join(few)}"
        found.append(Finding("error", "NATS rights", text, REWRITE))
    if many:
        text = f"NATS user {user} may, though it need not: {', '.join(many)}"
        found.append(Finding("warning", "NATS rights", text, REWRITE))
    return found


def _is_process(pod: Mapping[str, Any]) -> bool:
    names = {one["name"] for one in pod["spec"]["containers"]}
    return "process" in names and pod.get("status", {}).get("phase") == "Running"


async def _asked(kubectl: Kubectl, pod: Mapping[str, Any]) -> list[Finding]:
    """What the server tells a process of its own rights; a pod that does not answer is told of as a workload."""
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    try:
        text = await kubectl.call("exec", "-n", namespace, name, "-c", "process", "--", "python", "-c", ASK)
        answer = json.loads(text)
        return told(answer["user"], answer["few"], answer["many"])
    except (EncliiError, ValueError, KeyError):
        return []
