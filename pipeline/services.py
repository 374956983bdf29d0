"""Which services a commit has, which of them a push touches, what each is built from: pure over a mirror's reads."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline import dockerfile
from pipeline.buildkey import build_key
from pipeline.detect import DOCKERFILES, Plan, detect
from pipeline.errors import Permanent
from pipeline.servicefile import ServiceFile, ServiceSpec, default_servicefile, parse_servicefile

if TYPE_CHECKING:
    from pipeline.mirror import Mirror

SERVICE_FILE = "enclii.yaml"
UNRESOLVED = "buildpacks-builder"
BUILDER_CLASS = "buildah-oci-1"


@dataclass(frozen=True)
class Inputs:
    """What one service is built from at one commit."""

    spec: ServiceSpec
    tree: str
    dockerfile: str
    images: tuple[str, ...]  # base images as the Dockerfile names them
    plan: Plan

    def key(self, bases: dict[str, str], *, scope: str, salt: str = "") -> str:
        """The build key within ``scope``: an image is never lent to another repository or service, whose provenance
        could not vouch for it. ``salt`` makes the key unique where an input could not be resolved.
        """
        return build_key(
            self.tree, dockerfile=self.dockerfile, target=self.spec.build.target, arguments=self.spec.build.args,
            bases=bases, platforms=self.spec.build.platforms, builder_class=f"{BUILDER_CLASS}/{scope}/{salt}",
        )  # fmt: skip


def services_of(mirror: Mirror, sha: str, repository: str) -> ServiceFile:
    """The commit's services, by its ``enclii.yaml`` or, without one, by its Dockerfile. Raises Invalid."""
    data = mirror.read(sha, SERVICE_FILE)
    if data is not None:
        return parse_servicefile(data.decode("utf-8", "replace"))
    for name in DOCKERFILES:
        if (text := mirror.read(sha, name)) is not None:
            return default_servicefile(repository, ports=_ports(text.decode("utf-8", "replace")))
    return default_servicefile(repository)


def inputs_of(mirror: Mirror, sha: str, spec: ServiceSpec) -> Inputs:
    """What the service is built from. Raises Invalid or Refused when it can't be built."""
    plan = detect(mirror.paths(sha), spec)
    tree = mirror.tree_id(sha, spec.path)
    if plan.kind == "buildpacks":  # the builder image is resolved by the builder, so no key can be known before
        return Inputs(spec, tree, "", (UNRESOLVED,), plan)
    where = posixpath.normpath(posixpath.join(spec.path, plan.dockerfile))
    text = (mirror.read(sha, where) or b"").decode("utf-8", "replace")
    scanned = dockerfile.scan(text, arguments=spec.build.args, filename=where)
    return Inputs(spec, tree, plan.dockerfile, scanned.images, plan)


def touches(mirror: Mirror, old: str, new: str, spec: ServiceSpec) -> bool:
    """True if the service's path or its part of ``enclii.yaml`` differs between what is deployed and the new commit."""
    changed = mirror.changed_paths(old, new)
    if changed is None:
        return True
    inside = spec.path in {".", ""} or any(path == spec.path or path.startswith(f"{spec.path}/") for path in changed)
    if SERVICE_FILE in changed:
        return _spec_at(mirror, old, spec.name) != spec or (inside and changed != [SERVICE_FILE])
    return bool(changed) and inside


def _spec_at(mirror: Mirror, sha: str, name: str) -> ServiceSpec | None:
    try:
        found = services_of(mirror, sha, name)
    except Permanent:
        return None
    return next((spec for spec in found.services if spec.name == name), None)


def _ports(text: str) -> tuple[int, ...]:
    try:
        return dockerfile.scan(text).ports
    except Permanent:
        return ()
