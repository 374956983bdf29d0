"""What is built a second time and attested by the release key: releases, never previews."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import msgspec

from pipeline.bus import connect
from pipeline.events import BuildRequested, ImageBuilt, ImageRebuilt, ReleaseReady
from pipeline.keys import SigningKey
from pipeline.previews import PreviewRef
from pipeline.records import Run
from pipeline.registry import Registry
from pipeline.stages.build import BuildStage
from pipeline.stages.reproduce import Reproducer
from pipeline.stages.witness import Witness
from pipeline.store import Change, Step, Store, now
from tests.support.nats import running_nats

IMAGE = "127.0.0.1:1/p/web@sha256:" + "a" * 64
PREVIEW = PreviewRef(environment="preview-12")


class Builds:
    """Keeps what it is asked to build again."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def again(self, request: BuildRequested) -> str:
        self.asked.append(request.id)
        return "sha256:" + "b" * 64


async def released(store: Store, name: str, preview: PreviewRef | None) -> ReleaseReady:
    """A release as its builder and signer leave it."""
    of = {"id": f"{name}/web", "run": name, "project": "p", "service": "web", "build_key": name}
    run = Run(id=name, project="p", services=("web",), repository="r", ref="x", sha="", actor="", subject_line="",
              delivery="", created_at=now(), preview=preview)  # fmt: skip
    asked = BuildRequested(**of, repository="r", source_url="", ref="", sha="", tree="", spec=msgspec.Raw(b"{}"),
                           commit_time=0, source="", dockerfile="Dockerfile")  # fmt: skip
    await store.commit(Step((Change(run),), (asked, ImageBuilt(**of, image=IMAGE, sbom=""))))
    return ReleaseReady(id=f"{name}/web", at=now(), release=f"{name}.v1", run=name, project="p", service="web")


def test_an_image_of_a_preview_is_neither_built_twice_nor_attested_by_the_release_key(tmp_path: Path) -> None:
    async def story(url: str) -> list[str]:
        store, builds = Store(await connect(url, name="test", wait=60.0)), Builds()
        await store.bus.create_streams()
        twice = Reproducer(store, cast(BuildStage, builds), 1.0)
        for name, preview in (("main", None), ("preview", PREVIEW)):
            await twice.handle(await released(store, name, preview))
        told = ImageRebuilt(id="preview/web", run="preview", project="p", service="web", image=IMAGE, rebuilt="",
                            build_key="preview")  # fmt: skip
        async with Registry("127.0.0.1:1", plain_http=True) as registry:
            assert await Witness(store, registry, SigningKey.generate(), "b").handle(told) == Step()
        await store.bus.close()
        return builds.asked

    with running_nats(tmp_path) as url:
        assert asyncio.run(story(url)) == ["main/web"]
