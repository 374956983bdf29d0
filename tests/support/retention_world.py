"""Images of long ago, the records that name them, and what was decided about them."""

from __future__ import annotations

from pipeline.events import RetentionRequested
from pipeline.images import ImageRef
from pipeline.keys import SigningKey
from pipeline.records import Decision, Image, Target
from pipeline.retention import Limits
from pipeline.stages.retain import Retainer

KEY = SigningKey.generate()
REPOSITORY = "shop/web"
RUNS = ("r-aaaaaaaaaaaa", "r-bbbbbbbbbbbb", "r-cccccccccccc")
LONG_AGO = "2026-01-01T00:00:00Z"
OLD = Limits(grace=3600.0, cache=3600.0)


def image_record(image: ImageRef, run: str, *, provenance: str = "") -> Image:
    return Image(
        build_key=run, image=str(image), sbom=image.digest, source_url="https://git.example/shop", sha="c" * 40,
        run=run, provenance=provenance, built_at=LONG_AGO,
    )  # fmt: skip


def wanted(image: ImageRef) -> Target:
    return Target(
        project="shop", environment="production", service="web", deployment="d1", release="", image=str(image), sha="",
        config_commit="",
    )  # fmt: skip


async def decided(at: Retainer, event: RetentionRequested) -> Decision:
    await at.store.commit(await at.handle(event))
    found = await at.store.get(Decision, event.id)
    assert found is not None
    return found.record
