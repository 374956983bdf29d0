"""How a service is reached: a Service inside the cluster, an Ingress or an HTTPRoute from outside."""

from __future__ import annotations

from gitops.layout import Place
from gitops.rendering.identity import Manifest, manifest, serving
from pipeline.domains import Domains, Entrance, Tls
from pipeline.errors import Invalid

_CERT_MANAGER = {"issuer": "cert-manager.io/issuer", "cluster-issuer": "cert-manager.io/cluster-issuer"}


def service(port: int, place: Place) -> Manifest:
    """The service's name within its namespace, on the container's own port."""
    ports = [{"name": "http", "port": port, "targetPort": port}]
    return manifest("v1", "Service", place, {"selector": serving(place), "ports": ports})


def ingress(port: int, hosts: tuple[str, ...], place: Place, domains: Domains) -> Manifest:
    """An Ingress for ``hosts``; cert-manager fills the certificate where an issuer is named."""
    entrance, tls = domains.entrance, domains.tls
    annotations = {**entrance.annotations, **_issuer(tls)}
    backend = {"service": {"name": place.service, "port": {"number": port}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    spec: Manifest = {"ingressClassName": entrance.name} if entrance.name else {}
    if tls is not None:
        spec["tls"] = [{"hosts": list(hosts), "secretName": tls.name if tls.kind == "secret" else _secret(place)}]
    spec["rules"] = [{"host": host, "http": {"paths": [path]}} for host in hosts]
    return manifest("networking.k8s.io/v1", "Ingress", place, spec, annotations=annotations)


def route(port: int, hosts: tuple[str, ...], place: Place, entrance: Entrance) -> Manifest:
    """An HTTPRoute on the environment's Gateway, which ends TLS itself."""
    parent: Manifest = {"name": entrance.name}
    if entrance.namespace:
        parent["namespace"] = entrance.namespace
    if entrance.section:
        parent["sectionName"] = entrance.section
    rule = {"backendRefs": [{"name": place.service, "port": port}]}
    spec = {"parentRefs": [parent], "hostnames": list(hosts), "rules": [rule]}
    return manifest("gateway.networking.k8s.io/v1", "HTTPRoute", place, spec, annotations=entrance.annotations)


def entrance(port: int | None, place: Place, domains: Domains) -> Manifest | None:
    """What leads traffic in from outside; None without a domain. Raises Invalid for a domain without a port."""
    hosts = domains.hosts.get(place.service, ())
    if not hosts:
        return None
    if port is None:
        raise Invalid(f"{place} has the domain {hosts[0]} and no port: set port in enclii.yaml", reason="no_port")
    if domains.entrance.kind == "gateway":
        return route(port, hosts, place, domains.entrance)
    return ingress(port, hosts, place, domains)


def _issuer(tls: Tls | None) -> dict[str, str]:
    return {_CERT_MANAGER[tls.kind]: tls.name} if tls is not None and tls.kind in _CERT_MANAGER else {}


def _secret(place: Place) -> str:
    return f"{place.service}-tls"
