"""A shop with one service, two releases and a rollback's history, as the other processes would record it."""

from __future__ import annotations

import msgspec

from pipeline.records import (
    Deployment,
    Environment,
    Job,
    Live,
    Project,
    Push,
    Record,
    Release,
    ReplicaView,
    Repository,
    Run,
    ServiceRecord,
    Target,
)
from pipeline.store import now

SHA1 = "1" * 40
SHA2 = "2" * 40
IMAGE1 = "127.0.0.1:5000/shop/web@sha256:" + "a" * 64
IMAGE2 = "127.0.0.1:5000/shop/web@sha256:" + "b" * 64
AT1 = "2026-03-01T10:00:00.000Z"
AT2 = "2026-03-02T10:00:00.000Z"
PLACE = {"project": "shop", "environment": "production", "service": "web"}


def release(number: int, image: str, sha: str, at: str) -> Release:
    return Release(
        id=f"shop.web.v{number}", project="shop", service="web", number=number, image=image, sha=sha,
        ref="refs/heads/main", repository="local:shop/shop", source_url="http://127.0.0.1/shop/shop.git",
        actor="deployer", subject_line="A change", run=f"r-{number}", spec=msgspec.Raw(b'{"name":"web","replicas":2}'),
        created_at=at,
    )  # fmt: skip


def deployment(number: int, image: str, sha: str, at: str, status: str) -> Deployment:
    return msgspec.convert(
        {**PLACE, "id": f"d-{number}", "release": f"shop.web.v{number}", "image": image, "status": status, "sha": sha,
         "config_commit": str(number) * 40, "run": f"r-{number}", "created_at": at, "running_at": at},
        type=Deployment,
    )  # fmt: skip


def target(number: int, image: str, sha: str, **more: object) -> Target:
    fields = {**PLACE, "deployment": f"d-{number}", "release": f"shop.web.v{number}", "image": image, "sha": sha,
              "config_commit": str(number) * 40, **more}  # fmt: skip
    return msgspec.convert(fields, type=Target)


def live(number: int, image: str, at: str, *, ready: int = 2) -> Live:
    digest = image.rpartition("@")[2]
    replicas = tuple(
        ReplicaView(name=f"shop-web-{n}", state="ready", digest=digest, started_at=at, restarts=n) for n in range(2)
    )
    return Live(
        **PLACE, deployment=f"d-{number}", release=f"shop.web.v{number}", image=image, status="running",
        health="healthy", ready=ready, desired=2, replicas=replicas, since=at, address="http://web.localhost:7080",
    )  # fmt: skip


def job(number: int, status: str) -> Job:
    fields = {"run": f"r-{number}", "project": "shop", "service": "web", "status": status, "created_at": AT2}
    return msgspec.convert(fields, type=Job)


def run(number: int, status: str, sha: str = SHA2) -> Run:
    fields = {"id": f"r-{number}", "project": "shop", "repository": "local:shop/shop", "ref": "refs/heads/main",
              "sha": sha, "actor": "deployer", "subject_line": "A change", "delivery": f"del-{number}",
              "created_at": AT2, "services": ["web"], "status": status}  # fmt: skip
    return msgspec.convert(fields, type=Run)


def push(number: int) -> Push:
    """What the git host stored a moment ago of the push that run ``number`` is to be."""
    return Push(
        repository="local:shop/shop", ref="refs/heads/main", before=SHA1, after=SHA2, actor="deployer",
        delivery=f"del-{number}", at=now(),
    )  # fmt: skip


def shop() -> list[Record]:
    """The project with v2 live and v1 before it."""
    environments = (Environment(name="production", branch="main"), Environment(name="staging", branch="next"))
    return [
        Project(slug="shop", environments=environments, repositories=("local:shop/shop",), created_at=AT1),
        Repository(id="local:shop/shop", project="shop", name="shop", forge="local", url="http://h/shop/shop.git"),
        ServiceRecord(project="shop", service="web", last_release=2, repository="local:shop/shop"),
        run(1, "succeeded", SHA1), run(2, "succeeded"), job(2, "deployed"),
        release(1, IMAGE1, SHA1, AT1), release(2, IMAGE2, SHA2, AT2),
        deployment(1, IMAGE1, SHA1, AT1, "replaced"), deployment(2, IMAGE2, SHA2, AT2, "running"),
        target(2, IMAGE2, SHA2), live(2, IMAGE2, AT2),
    ]  # fmt: skip
