"""``clusters.yaml``: the clusters that an installation knows besides podman, and how each is reached and synced."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.errors import Invalid

PODMAN = "podman"
LIMIT = 256 << 10
SYNCS = ("own", "argocd", "flux")
LEVELS = ("restricted", "baseline", "privileged")
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
_KEYS = frozenset(
    {"kind", "kubeconfig", "context", "in_cluster", "sync", "pod_security", "argocd", "flux"}
)  # fmt: skip
Sync = Literal["own", "argocd", "flux"]
PodSecurity = Literal["restricted", "baseline", "privileged"]


@dataclass(frozen=True)
class Entry:
    """One cluster; ``argocd`` and ``flux`` are the tools' own settings, read by their adapters."""

    name: str
    kubeconfig: Path | None = None
    context: str | None = None
    in_cluster: bool = False
    sync: Sync = "own"
    pod_security: PodSecurity = "restricted"
    argocd: Mapping[str, Any] = field(default_factory=dict)
    flux: Mapping[str, Any] = field(default_factory=dict)


def read(path: Path) -> dict[str, Entry]:
    """The clusters by name, none without a file. Raises Invalid whose text names the cluster and the field."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {type(error).__name__}", reason="bad_clusters_file") from error
    return parse(data, path.parent)


def parse(data: bytes, folder: Path) -> dict[str, Entry]:
    """The file's content; a relative kubeconfig lies beside the file. Raises Invalid."""
    if len(data) > LIMIT:
        raise Invalid(f"clusters.yaml is larger than {LIMIT >> 10} KiB", reason="bad_clusters_file")
    try:
        found = YAML(typ="safe", pure=True).load(io.BytesIO(data)) or {}
    except (YAMLError, ValueError, RecursionError) as error:
        raise Invalid("clusters.yaml is not valid YAML", reason="bad_clusters_file") from error
    if not isinstance(found, dict):
        raise Invalid("clusters.yaml: must map names to clusters", reason="bad_clusters_file")
    return {str(name): _entry(str(name), item, folder) for name, item in found.items()}


def _entry(name: str, item: object, folder: Path) -> Entry:
    check_name(name)
    if not isinstance(item, dict):
        raise _wrong(name, "must be a mapping")
    for key in item:
        if key not in _KEYS:
            raise _wrong(name, f"has an unknown key {str(key)[:60]!r}")
    if item.get("kind", "kubernetes") != "kubernetes":
        raise _wrong(name, "kind: must be kubernetes")
    sync, level = item.get("sync", "own"), item.get("pod_security", "restricted")
    if sync not in SYNCS:
        raise _wrong(name, f"sync: must be one of {', '.join(SYNCS)}")
    if level not in LEVELS:
        raise _wrong(name, f"pod_security: must be one of {', '.join(LEVELS)}")
    inside, kubeconfig = item.get("in_cluster", False), _text(name, item, "kubeconfig")
    if not isinstance(inside, bool) or inside == bool(kubeconfig):
        raise _wrong(name, "needs either kubeconfig: FILE or in_cluster: true")
    tools = {tool: item.get(tool) or {} for tool in ("argocd", "flux")}
    for tool, settings in tools.items():
        if not isinstance(settings, dict):
            raise _wrong(name, f"{tool}: must be a mapping")
    return Entry(
        name, folder / Path(kubeconfig).expanduser() if kubeconfig else None, _text(name, item, "context") or None,
        inside, cast("Sync", sync), cast("PodSecurity", level), tools["argocd"], tools["flux"],
    )  # fmt: skip


def check_name(name: str) -> None:
    """Raise Invalid for what is no name of a cluster; podman is built in."""
    if not _NAME.fullmatch(name) or name == PODMAN:
        raise Invalid(
            f"{name[:60]!r} cannot name a cluster: 1 to 40 of a-z, 0-9 and inner hyphens, and not podman",
            reason="bad_cluster_name",
        )


def added(data: bytes, name: str, item: Mapping[str, Any], folder: Path) -> bytes:
    """The file with one more cluster, or with another definition of it; what people wrote stays. Raises Invalid."""
    parse(data, folder)
    document = YAML().load(io.BytesIO(data)) or {}
    document[name] = dict(item)
    out = _dumped(document)
    parse(out, folder)
    return out


def removed(data: bytes, name: str, folder: Path) -> bytes:
    """The file without the cluster. Raises Invalid when it has none of that name."""
    if name not in parse(data, folder):
        raise Invalid(f"there is no cluster {name!r}: enclii cluster list", reason="no_such_cluster")
    document = YAML().load(io.BytesIO(data))
    del document[name]
    return _dumped(document)


def write(path: Path, data: bytes) -> None:
    """Replace the file as a whole; it names credentials, so nobody else reads it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _dumped(document: Any) -> bytes:
    out = io.BytesIO()
    YAML().dump(document, out)
    return out.getvalue()


def _text(name: str, item: Mapping[str, Any], key: str) -> str:
    value = item.get(key, "")
    if not isinstance(value, str) or "\n" in value or len(value) > 1_000:
        raise _wrong(name, f"{key}: must be a text on one line")
    return value


def _wrong(name: str, what: str) -> Invalid:
    return Invalid(f"clusters.yaml: {name}: {what}", reason="bad_clusters_file")
