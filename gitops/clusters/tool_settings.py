"""The ``argocd`` and ``flux`` parts of an entry in ``clusters.yaml``: how the tool is reached, and its own names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitops.clusters import argocd, flux
from gitops.clusters.tools import Includes, Tool
from gitops.wiring import Source, bare_address
from gitops.wiring import argocd as argocd_documents
from gitops.wiring import flux as flux_documents
from pipeline.errors import Invalid

_ARGOCD = frozenset(
    {"url", "webhook_secret_file", "applicationset_url", "applications", "namespace", "project", "server", "repo"}
)
_FLUX = frozenset({"receiver_url", "token_file", "namespace", "name", "repo"})
WEBHOOK = "/api/webhook"


@dataclass(frozen=True)
class Around:
    """What a tool needs to know of the installation; relative files lie in ``folder``."""

    source: Source
    instance: str
    folder: Path
    includes: Includes
    pod_security: str = "restricted"


def made(sync: str, settings: Mapping[str, Any], around: Around, *, cluster: str) -> Tool:
    """The tool of one cluster. Raises Invalid whose text names the cluster and the field."""
    read = _Read(settings, f"clusters.yaml: {cluster}: {sync}", around.folder)
    return _argocd(read, around) if sync == "argocd" else _flux(read, around)


def check(sync: str, settings: Mapping[str, Any], *, cluster: str) -> None:
    """Raises Invalid, whose text names the field, for what ``made`` would not take."""
    made(sync, settings, Around(Source("", "main"), "", Path(), _never), cluster=cluster)


async def _never(_: str, __: str) -> bool:
    return False


def _argocd(read: _Read, around: Around) -> Tool:
    read.only(_ARGOCD)
    how = read.text("applications", "made")
    if how not in ("made", "declared"):
        raise read.wrong("applications", "must be made (by Enclii) or declared (by an ApplicationSet or a person)")
    usual = argocd_documents.Site()
    site = argocd_documents.Site(
        read.text("namespace", usual.namespace), read.text("project", usual.project), read.text("server", usual.server)
    )
    url, secret = read.url("url"), read.file("webhook_secret_file")
    if bool(url) != bool(secret):
        raise read.wrong("url", "and webhook_secret_file go together: a hint is signed")
    access = argocd.Access(
        webhook=url and url + WEBHOOK,
        secret_file=secret,
        applicationset=(other := read.url("applicationset_url")) and other + WEBHOOK,
        makes=how == "made",
    )
    return argocd.ArgoCD(
        access, site, read.source(around.source), includes=around.includes, instance=around.instance,
        pod_security=around.pod_security,
    )  # fmt: skip


def _flux(read: _Read, around: Around) -> Tool:
    read.only(_FLUX)
    usual = flux_documents.Site()
    site = flux_documents.Site(read.text("namespace", usual.namespace), read.text("name", usual.name))
    url, token = read.url("receiver_url"), read.file("token_file")
    if bool(url) != bool(token):
        raise read.wrong("receiver_url", "and token_file go together: a hint is signed")
    return flux.Flux(
        flux.Access(url, token), site, read.source(around.source), includes=around.includes, instance=around.instance,
        pod_security=around.pod_security,
    )  # fmt: skip


@dataclass(frozen=True)
class _Read:
    settings: Mapping[str, Any]
    where: str
    folder: Path

    def only(self, known: frozenset[str]) -> None:
        for key in self.settings:
            if key not in known:
                raise Invalid(f"{self.where} has an unknown key {str(key)[:60]!r}", reason="bad_clusters_file")

    def text(self, key: str, default: str = "") -> str:
        value = self.settings.get(key, default)
        if not isinstance(value, str) or "\n" in value or len(value) > 1_000:
            raise self.wrong(key, "must be a text on one line")
        return value or default

    def url(self, key: str) -> str:
        value = self.text(key).rstrip("/")
        if value and not value.startswith(("http://", "https://")):
            raise self.wrong(key, "must begin with http:// or https://")
        return value

    def file(self, key: str) -> Path | None:
        value = self.text(key)
        return self.folder / Path(value).expanduser() if value else None

    def source(self, usual: Source) -> Source:
        return Source(bare_address(self.text("repo", usual.url)), usual.branch)

    def wrong(self, key: str, what: str) -> Invalid:
        return Invalid(f"{self.where}: {key}: {what}", reason="bad_clusters_file")
