"""Where an environment's services are reached from outside: names, TLS, and what leads traffic in; plain values."""

from __future__ import annotations

from typing import Literal

import msgspec


class Tls(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a certificate comes from: a cert-manager issuer, a cluster issuer, or a Secret that is there already."""

    kind: Literal["issuer", "cluster-issuer", "secret"]
    name: str


class Entrance(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An Ingress of a class (``name`` empty: the cluster's default), or an HTTPRoute on a Gateway."""

    kind: Literal["ingress", "gateway"] = "ingress"
    name: str = ""
    namespace: str = ""
    section: str = ""
    annotations: dict[str, str] = {}


class Domains(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One environment's names: ``hosts`` maps a service to its host names."""

    hosts: dict[str, tuple[str, ...]] = {}
    tls: Tls | None = None
    entrance: Entrance = Entrance()
