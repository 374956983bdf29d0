"""``previews`` of ``project.yaml``: whether there are any, under which domain, how many and for how long.

previews:
  automatic: true                       # a pull request gets one unasked; drafts and forks never
  domain: preview.example.org
  cap: 5
  idle: 72h                             # removed after so long without a request, push or command
  sleep: 1h                             # its containers end after so long without a request
  internet: false                       # true: may reach public addresses
  cluster: name
  tls: {cluster-issuer: letsencrypt}
  ingress: {class: nginx}               # or {gateway: …}
  base: {environment: staging, shared: [search], copied: [auth]}
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gitops import domains
from gitops.fields import PROJECT
from pipeline import names, parsing
from pipeline.errors import EncliiError
from pipeline.previews import BaseServices, PreviewRules
from pipeline.records import Environment

KEYS = frozenset(
    {"enabled", "automatic", "domain", "cap", "idle", "sleep", "internet", "cluster", "tls", "ingress", "base"}
)
BASE_KEYS = frozenset({"environment", "shared", "copied"})
MOST = 100


def read(value: Any, environments: Sequence[Environment] = ()) -> PreviewRules:
    """The rules of one project, which has these environments. Raises Invalid whose text names the field."""
    fields = PROJECT.mapping(value, "previews", KEYS)
    entrance = domains.read({key: fields[key] for key in ("tls", "ingress") if key in fields}, "previews")
    switches = {
        key: PROJECT.switch(fields[key], f"previews.{key}") for key in ("enabled", "automatic", "internet")
        if key in fields
    }  # fmt: skip
    base, cluster = _base(fields.get("base")), _cluster(fields.get("cluster", ""))
    _check_base(base, cluster, environments)
    return PreviewRules(
        **switches,
        domain=_domain(fields.get("domain", "")),
        cap=_cap(fields.get("cap", 0)),
        idle=_seconds(fields.get("idle"), "previews.idle"),
        sleep=_seconds(fields.get("sleep"), "previews.sleep"),
        cluster=cluster,
        tls=entrance.tls,
        entrance=entrance.entrance,
        base=base,
    )


def _base(value: Any) -> BaseServices:
    """A fork gets none of them."""
    fields = PROJECT.mapping(value, "previews.base", BASE_KEYS)
    if not fields:
        return BaseServices()
    listed = {key: PROJECT.names(fields.get(key), f"previews.base.{key}") for key in ("shared", "copied")}
    try:
        environment = names.name(fields.get("environment", ""), what="environment")
        for one in (*listed["shared"], *listed["copied"]):
            names.name(one, what="service")
    except (EncliiError, TypeError):
        raise PROJECT.wrong("previews.base", "names an environment, and services of it") from None
    if both := set(listed["shared"]) & set(listed["copied"]):
        raise PROJECT.wrong("previews.base", f"has {', '.join(sorted(both))} both shared and copied")
    return BaseServices(environment=environment, **listed)


def _check_base(base: BaseServices, cluster: str, environments: Sequence[Environment]) -> None:
    if not base.environment:
        return
    found = next((one for one in environments if one.name == base.environment), None)
    if found is None:
        raise PROJECT.wrong("previews.base.environment", "must name an environment of the project")
    if base.shared and found.cluster != cluster:
        raise PROJECT.wrong("previews.base.shared", f"needs previews on the cluster that {base.environment} is on")


def _domain(value: Any) -> str:
    text = PROJECT.text(value, "previews.domain")
    if text and not domains.is_host(text):
        raise PROJECT.wrong("previews.domain", "must be a host name in lower case")
    return text


def _cap(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST:
        raise PROJECT.wrong("previews.cap", f"must be a whole number up to {MOST}")
    return value


def _seconds(value: Any, where: str) -> float:
    if value is None:
        return 0.0
    try:
        return float(parsing.duration(PROJECT.text(value, where)))
    except (ValueError, EncliiError):
        raise PROJECT.wrong(where, "must be a duration such as 72h") from None


def _cluster(value: Any) -> str:
    text = PROJECT.text(value, "previews.cluster")
    try:
        return names.name(text, what="cluster") if text else ""
    except EncliiError as error:
        raise PROJECT.wrong("previews.cluster", error.message) from None
