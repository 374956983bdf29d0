"""Which names people gave to services, and where each answers now; read by whoever puts a proxy before the door."""

from __future__ import annotations

from typing import Any

from console.projection import Projection
from pipeline.records import Live, Project


def domains(db: Projection) -> list[dict[str, Any]]:
    """One entry per service with a domain; ``address`` is empty while nothing of it ran yet."""
    found = []
    for project in db.find(Project):
        for environment in project.environments:
            for service, hosts in sorted(environment.domains.hosts.items()):
                live = db.get(Live, project.slug, environment.name, service)
                found.append(
                    {
                        "project": project.slug,
                        "environment": environment.name,
                        "service": service,
                        "hosts": list(hosts),
                        "tls": environment.domains.tls is not None,
                        "address": live.address if live else "",
                    }
                )
    return found
