"""Services as they are rendered, one case for each shape; ``python -m tests.support.rendered`` writes what is kept.

The same cases are given to a real API server, so what is kept in tests/data/rendered was accepted there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gitops.layout import Place
from gitops.render import render
from gitops.rendering.surroundings import Surroundings
from pipeline.domains import Domains, Entrance, Tls
from pipeline.records import Release
from pipeline.servicefile import ExternalVolume, ReleaseJob, Resources, Scale, ServiceSpec

GOLDEN = Path(__file__).parents[1] / "data" / "rendered"
WEB = Place("shop", "production", "web")
IMAGE = f"registry.example:5000/shop/web@sha256:{'0' * 64}"
HOSTS: Mapping[str, tuple[str, ...]] = {"web": ("shop.example.com", "www.shop.example.com")}


@dataclass(frozen=True)
class Case:
    """One service with what surrounds it."""

    name: str
    spec: ServiceSpec
    around: Surroundings = Surroundings()  # noqa: RUF009 - frozen
    user: str = "1000"

    def files(self, image: str = IMAGE) -> dict[str, bytes]:
        return render(release(self.spec, image, user=self.user), WEB, self.around)


def release(spec: ServiceSpec, image: str = IMAGE, *, user: str = "") -> Release:
    return Release(
        id="shop.web.v41",
        project="shop",
        service="web",
        number=41,
        image=image,
        sha="1" * 40,
        ref="refs/heads/main",
        repository="local:shop/shop",
        source_url="http://git.example/shop.git",
        actor="deployer",
        subject_line="a change",
        run="r-1",
        spec=msgspec.Raw(msgspec.json.encode(spec)),
        user=user,
    )


ISSUED = Domains(hosts=dict(HOSTS), tls=Tls(kind="cluster-issuer", name="letsencrypt"), entrance=Entrance(name="nginx"))
ROUTED = Domains(hosts=dict(HOSTS), entrance=Entrance(kind="gateway", name="public", namespace="edge", section="https"))
CASES = [
    Case(
        "web",
        ServiceSpec(
            name="web", port=8080, health="/healthz", command=("serve", "-v"), replicas=2,
            env={"LEVEL": "no", "A": "1"}, secrets=("DATABASE_URL", "TOKEN"),
            resources=Resources(cpu="500m", memory="256Mi"),
            release=ReleaseJob(command=("manage", "migrate"), timeout=300),
        ),
        Surroundings(ISSUED, {"DATABASE_URL": 3, "TOKEN": 1}, restarted_at="2026-01-02T03:04:05Z"),
    ),
    Case("worker", ServiceSpec(name="web", command=("work",)), user="root"),
    Case(
        "scaled",
        ServiceSpec(
            name="web", port=80, scale=Scale(min=2, max=5, cpu=70), resources=Resources(cpu="100m"), user=10001,
            volumes={"uploads": ExternalVolume(claim="uploads", path="/data")},
        ),
        Surroundings(ROUTED),
    ),
    Case(
        "elsewhere",
        ServiceSpec(
            name="web", port=8080, external_secrets={"DATABASE_URL": "vault/shop/database"},
            existing_secrets={"TOKEN": "shop-tokens/token"},
        ),
    ),
]  # fmt: skip


if __name__ == "__main__":
    for case in CASES:
        folder = GOLDEN / case.name
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for name, data in case.files().items():
            (folder / name).write_bytes(data)
