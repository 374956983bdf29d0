"""``domains``, ``tls`` and ``ingress`` of an environment in ``project.yaml``: under which names its services answer.

domains: {web: [shop.example.com]}
tls: {cluster-issuer: letsencrypt}            # or {issuer: …} of cert-manager, or {secret: …} that exists
ingress: {class: nginx, annotations: {}}      # or {gateway: public, namespace: edge, section: https}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, cast

from gitops.fields import PROJECT
from pipeline import names
from pipeline.domains import Domains, Entrance, Tls
from pipeline.errors import EncliiError

KEYS = frozenset({"domains", "tls", "ingress"})
_HOST = re.compile(r"(?:\*\.)?(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_OBJECT = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?")
_ENTRANCE = frozenset({"class", "gateway", "namespace", "section", "annotations"})
_TLS = ("issuer", "cluster-issuer", "secret")


def read(fields: Mapping[str, Any], where: str) -> Domains:
    """The three keys of one environment. Raises Invalid whose text names the field."""
    hosts = _hosts(fields.get("domains"), f"{where}.domains")
    tls = _tls(fields.get("tls"), f"{where}.tls")
    entrance = _entrance(fields.get("ingress"), f"{where}.ingress")
    if entrance.kind == "gateway" and tls is not None:
        raise PROJECT.wrong(f"{where}.tls", "belongs to the Gateway, which ends TLS")
    return Domains(hosts=hosts, tls=tls, entrance=entrance)


def is_host(text: str) -> bool:
    """True for a host name in lower case."""
    return bool(_HOST.fullmatch(text)) and len(text) <= 253


def _hosts(value: Any, where: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    owners: dict[str, str] = {}
    for service, hosts in PROJECT.mapping(value, where).items():
        try:
            names.name(str(service), what="service")
        except EncliiError as error:
            raise PROJECT.wrong(where, error.message) from None
        listed = [hosts] if isinstance(hosts, str) else hosts
        if not isinstance(listed, list) or not listed:
            raise PROJECT.wrong(f"{where}.{service}", "must be a host name or a list of them")
        for host in listed:
            if not isinstance(host, str) or not _HOST.fullmatch(host) or len(host) > 253:
                raise PROJECT.wrong(
                    f"{where}.{service}", f"has {str(host)[:80]!r}, which is no host name in lower case"
                )
            if owners.setdefault(host, str(service)) != service:
                raise PROJECT.wrong(f"{where}.{service}", f"has {host}, which belongs to {owners[host]}")
        found[str(service)] = tuple(dict.fromkeys(listed))
    return found


def _tls(value: Any, where: str) -> Tls | None:
    fields = PROJECT.mapping(value, where)
    if not fields:
        return None
    kind, name = next(iter(fields.items()))
    if len(fields) > 1 or kind not in _TLS:
        raise PROJECT.wrong(where, f"must have exactly one of {', '.join(_TLS)}")
    return Tls(kind=cast("Literal['issuer', 'cluster-issuer', 'secret']", kind), name=_object(name, f"{where}.{kind}"))


def _entrance(value: Any, where: str) -> Entrance:
    fields = PROJECT.mapping(value, where, _ENTRANCE)
    annotations = dict(PROJECT.mapping(fields.get("annotations"), f"{where}.annotations"))
    if any(not isinstance(text, str) for pair in annotations.items() for text in pair):
        raise PROJECT.wrong(f"{where}.annotations", "must map texts to texts")
    if "gateway" not in fields:
        if extra := fields.keys() & {"namespace", "section"}:
            raise PROJECT.wrong(where, f"has {min(extra)}, which needs a gateway")
        name = _object(fields["class"], f"{where}.class") if "class" in fields else ""
        return Entrance(name=name, annotations=annotations)
    if "class" in fields:
        raise PROJECT.wrong(where, "has both class and gateway")
    rest = {key: _object(fields[key], f"{where}.{key}") for key in ("namespace", "section") if key in fields}
    return Entrance(
        kind="gateway", name=_object(fields["gateway"], f"{where}.gateway"), annotations=annotations, **rest
    )


def _object(value: Any, where: str) -> str:
    if not isinstance(value, str) or not _OBJECT.fullmatch(value):
        raise PROJECT.wrong(where, "must be the name of an object of the cluster")
    return value
