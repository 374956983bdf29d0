"""A release and its surroundings become plain Kubernetes manifests, the same bytes for the same input.

Every file starts with a header line; by that line Enclii knows later that the file is its own and may be written anew.
Only what is asked for is written: no Service without a port, no Ingress without a domain.
"""

from __future__ import annotations

import msgspec

from gitops import emit, layout
from gitops.layout import Place
from gitops.rendering import network, pod, policy, preview, secrets, workload
from gitops.rendering.identity import DOMAIN as DOMAIN
from gitops.rendering.identity import Manifest
from gitops.rendering.surroundings import Surroundings
from pipeline.images import ImageRef
from pipeline.previews import SCOPE, is_preview
from pipeline.records import Release
from pipeline.servicefile import ServiceSpec

MARK = b"# Rendered by Enclii from release "


def header(number: int) -> str:
    """The first line's text; it starts as ``MARK`` says."""
    return f"Rendered by Enclii from release v{number}; changes here are overwritten. Edit enclii.yaml instead."


def is_ours(data: bytes) -> bool:
    """True for a file that Enclii rendered and nobody took over by removing the header."""
    return data.startswith(MARK)


def spec_of(release: Release, environment: str) -> ServiceSpec:
    """What the release's ``enclii.yaml`` says of its service in one environment."""
    spec = msgspec.json.decode(release.spec, type=ServiceSpec)
    if not is_preview(environment):
        return spec.for_environment(environment)
    return spec.for_environment(environment if environment in spec.environments else SCOPE)


def render(release: Release, place: Place, around: Surroundings | None = None) -> dict[str, bytes]:
    """The files of ``release`` at ``place``. Raises Refused ``secret_missing``, Invalid."""
    ImageRef.parse(release.image)
    spec, around = spec_of(release, place.environment), around or Surroundings()
    if release.preview is not None:
        spec, around = preview.fitted(spec, place, release.preview, around)
    text = header(release.number)
    documents = _documents(spec, release, place, around)
    return {name: emit.document(found, header=text) for name, found in documents.items() if found is not None}


def _documents(spec: ServiceSpec, release: Release, place: Place, around: Surroundings) -> dict[str, Manifest | None]:
    port = spec.port
    entrance = network.entrance(port, place, around.domains)
    kind = entrance["kind"] if entrance else ""
    return {
        layout.ACCOUNT_FILE: policy.service_account(place, around.pull_secret),
        layout.EXTERNAL_FILE: secrets.external_secret(spec, place) if spec.external_secrets else None,
        layout.NETWORK_POLICY_FILE: _network_policy(port, release, place, around),
        layout.RELEASE_JOB_FILE: workload.release_job(spec, release, place, around) if spec.release else None,
        layout.DEPLOYMENT_FILE: workload.deployment(spec, release, place, around),
        layout.SERVICE_FILE: network.service(port, place) if port is not None else None,
        layout.INGRESS_FILE: entrance if kind == "Ingress" else None,
        layout.ROUTE_FILE: entrance if kind == "HTTPRoute" else None,
        layout.DISRUPTION_FILE: policy.disruption_budget(place) if pod.runs_several(spec, around) else None,
        layout.AUTOSCALER_FILE: policy.autoscaler(spec.scale, place) if spec.scale else None,
        layout.DENY_FILE: preview.deny_all(place) if release.preview else None,
        layout.QUOTA_FILE: preview.quota(place) if release.preview else None,
        layout.LIMITS_FILE: preview.limits(place) if release.preview else None,
    }


def _network_policy(port: int | None, release: Release, place: Place, around: Surroundings) -> Manifest:
    if release.preview is None:
        return policy.network_policy(port, place)
    return preview.network_policy(port, place, internet=release.preview.internet, shared=around.shared)
