"""Mirrors and plain HTTP as ``registries.conf`` says them: what buildah and podman pull by."""

from __future__ import annotations

import json

from pipeline.registries import Registries

_HEAD = 'unqualified-search-registries = ["docker.io"]\nshort-name-mode = "disabled"\n'


def registries_conf(registries: Registries) -> str:
    """The file's text. A registry with mirrors is asked last; TLS is left out only for those that may go without."""
    hosts = sorted({*registries.mirrors, *registries.plain_http})
    return _HEAD + "".join(_table("registry", host, registries) + _mirrors(host, registries) for host in hosts)


def _mirrors(host: str, registries: Registries) -> str:
    return "".join(_table("registry.mirror", mirror, registries) for mirror in registries.mirrors.get(host, ()))


def _table(name: str, host: str, registries: Registries) -> str:
    insecure = json.dumps(host in registries.plain_http)
    return f"[[{name}]]\nlocation = {json.dumps(host)}\ninsecure = {insecure}\n"
