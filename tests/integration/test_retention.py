"""The registry's retention on a real registry and event store: what goes, and what stays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gitops.gate.signatures import Gate
from pipeline import bus, simplesigning
from pipeline.errors import Conflict, EncliiError, Refused, Unavailable
from pipeline.events import RetentionRequested
from pipeline.images import ImageRef, fallback_tag
from pipeline.inventory import inventory
from pipeline.log_stream import LogStream, stored, subject
from pipeline.previews import Preview, PreviewService
from pipeline.records import Decision, Image, Job, Release, ServiceRecord, Shed
from pipeline.registry import Registry
from pipeline.retention_plan import RetentionPlan
from pipeline.stages.preview_shed import Shedder
from pipeline.stages.retain import Retainer
from pipeline.store import Change, Step, Store
from pipeline.supply import sign_release
from pipeline.verify import verify_image
from tests.support.forgeries import BUILDER, SHA, SOURCE, SPDX, facts
from tests.support.line import Line, eventually
from tests.support.nats import running_nats
from tests.support.registry import push_image, running_registry
from tests.support.retention_world import KEY, LONG_AGO, OLD, REPOSITORY, RUNS, decided, image_record, wanted


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[tuple[str, str]]:
    with running_nats(tmp_path / "nats") as nats, running_registry(tmp_path / "registry") as registry:
        yield nats, registry


@asynccontextmanager
async def opened(stores: tuple[str, str]) -> AsyncIterator[Retainer]:
    store = Store(await bus.connect(stores[0], name="test", wait=60.0))
    try:
        await store.bus.create_streams()
        async with Registry(stores[1], plain_http=True) as registry:
            yield Retainer(store, registry, releases=1, limits=OLD)
    finally:
        await store.bus.close()


async def signed(registry: Registry, run: str) -> Image:
    """A signed image with all its evidence, built long ago."""
    image = await push_image(registry, REPOSITORY, tag=run, content=run.encode())
    made = await sign_release(registry, image, key=KEY, provenance=facts(), sbom=SPDX)
    return image_record(image, run, provenance=made.provenance)


async def two_images(at: Retainer) -> tuple[Image, Image]:
    """One that nothing names any more, and one that production wants."""
    old, live = [await signed(at.registry, run) for run in RUNS[:2]]
    target = wanted(ImageRef.parse(live.image))
    service = ServiceRecord(project="shop", service="web", last_release=2)
    await at.store.commit(Step(tuple(Change(one) for one in (old, live, target, service))))
    return old, live


async def plan(at: Retainer) -> RetentionPlan:
    return msgspec.json.decode(await at.answer(b""), type=RetentionPlan)


async def there(at: Retainer, image: Image) -> dict[str, bool]:
    """Which of an image's objects the registry still has, by what they are."""
    of = ImageRef.parse(image.image)
    names = {"image": of.digest, "list": fallback_tag(of.digest), "older": simplesigning.tag(of.digest)}
    names["provenance"] = image.provenance
    return {what: await at.registry.manifest(REPOSITORY, name) is not None for what, name in names.items()}


def test_an_image_that_nothing_names_goes_with_its_evidence_and_the_wanted_one_still_verifies(
    stores: tuple[str, str],
) -> None:
    async def story() -> None:
        async with opened(stores) as at:
            old, live = await two_images(at)
            seen = await plan(at)
            said = await decided(at, RetentionRequested(id="c-1", expected=seen.token))

            assert (said.outcome, said.reason) == ("accepted", "shed")
            assert not any((await there(at, old)).values())
            assert all((await there(at, live)).values())
            await verify_image(at.registry, ImageRef.parse(live.image), keys=[KEY.public], demand=None)
            assert (await plan(at)).shed == 0

    asyncio.run(story())


def test_a_build_log_goes_with_its_image_and_another_stays(stores: tuple[str, str]) -> None:
    async def story() -> None:
        async with opened(stores) as at:
            old, live = await two_images(at)
            for image in (old, live):
                job = Job(run=image.run, project="shop", service="web", status="deployed", image=image.image,
                          created_at=LONG_AGO, finished_at=LONG_AGO)  # fmt: skip
                await at.store.commit(Step((Change(job),)))
                log = LogStream(at.store.bus, image.run, "web")
                await log.line("step", "built")
                await log.end()
            seen = await plan(at)

            said = await decided(at, RetentionRequested(id="c-1", expected=seen.token))

            assert [(one.run, one.why) for one in seen.logs] == [(old.run, "its image goes or is gone")]
            assert said.message.endswith("and 1 build logs")
            assert await stored(at.store.bus) == {subject(live.run, "web")}

    asyncio.run(story())


def test_what_a_preview_wrote_into_the_cache_goes_with_it_and_the_branchs_stays(stores: tuple[str, str]) -> None:
    preview = Preview(id="shop.preview-7", project="shop", repository="local:shop", number=7, state="removing",
                      environment="preview-7", services=(PreviewService(name="web"),))  # fmt: skip

    async def story() -> None:
        async with opened(stores) as at:
            place = f"{REPOSITORY}/cache"
            for trust in ("main", "preview-7"):
                await push_image(at.registry, place, tag=f"abcdabcdabcdabcd-{trust}", content=trust.encode())

            left = await Shedder(at.store, at.registry)(preview)

            assert left == 0
            assert await at.registry.tags(place) == ["abcdabcdabcdabcd-main"]

    asyncio.run(story())


def test_nothing_is_shed_that_the_plan_that_was_seen_does_not_name(stores: tuple[str, str]) -> None:
    async def story() -> None:
        async with opened(stores) as at:
            old, _ = await two_images(at)

            said = await decided(at, RetentionRequested(id="c-1", expected="another"))

            assert (said.outcome, said.reason) == ("refused", "moved_meanwhile")
            assert all((await there(at, old)).values())

    asyncio.run(story())


def test_a_push_that_takes_an_image_again_and_its_shedding_cannot_both_win(stores: tuple[str, str]) -> None:
    async def story() -> None:
        async with opened(stores) as at:
            old, _ = await two_images(at)
            read = await at.store.get(Image, old.build_key)
            assert read is not None

            await decided(at, RetentionRequested(id="c-1"))

            with pytest.raises(Conflict):  # what the planner's step carries
                await at.store.commit(Step((Change(read.record, read.seq),)))
            again = await at.store.get(Image, old.build_key)
            assert again is not None
            assert again.record.provenance == ""
            assert await at.store.get(Shed, old.image) is not None

    asyncio.run(story())


def test_a_build_on_its_way_keeps_what_it_has_pushed(stores: tuple[str, str]) -> None:
    async def story() -> None:
        async with opened(stores) as at:
            await two_images(at)
            job = Job(run=RUNS[2], project="shop", service="web", status="building", created_at=LONG_AGO)
            await at.store.commit(Step((Change(job),)))
            pushed = await push_image(at.registry, REPOSITORY, tag=RUNS[2], content=b"new")

            await decided(at, RetentionRequested(id="c-1"))

            assert await at.registry.manifest(REPOSITORY, pushed.digest) is not None

    asyncio.run(story())


def release_of(image: Image) -> Release:
    return Release(
        id="shop.web.v1", project="shop", service="web", number=1, image=image.image, sha=SHA, ref="refs/heads/main",
        repository="local:shop/shop", source_url=SOURCE, actor="", subject_line="", run=image.run,
        spec=msgspec.Raw(b"{}"),
    )  # fmt: skip


def test_a_release_whose_image_was_shed_is_refused_though_it_was_verified_before(stores: tuple[str, str]) -> None:
    async def story() -> None:
        async with opened(stores) as at:
            old, live = await two_images(at)
            gate = Gate(at.store, at.registry, (KEY.public,), frozenset({BUILDER}))
            await gate.release(release_of(old))

            await decided(at, RetentionRequested(id="c-1"))

            with pytest.raises(Refused) as caught:
                await gate.release(release_of(old))
            assert caught.value.reason == "image_shed"
            assert (await gate.release(release_of(live))).image == live.image

    asyncio.run(story())


def test_people_see_the_planners_plan_and_have_it_carried_out(tmp_path: Path, stores: tuple[str, str]) -> None:
    async def prepared() -> Image:
        async with opened(stores) as at:
            return (await two_images(at))[0]

    old = asyncio.run(prepared())
    line = Line(tmp_path / "home", *stores)
    line.home.mkdir()
    try:
        line.start("committer", "planner", "console")  # the first makes what streams are missing
        eventually(lambda: line.listens("console"), what="the console")
        seen = eventually(lambda: answered(line), what="the plan")
        command = line.api("/v1/retentions", {"expected": seen["token"]})["command"]
        said = line.api(f"/v1/commands/{command}?wait=20")["decision"]
    finally:
        line.end()

    assert ImageRef.parse(old.image).digest in {one["digest"] for one in seen["lines"] if not one["keep"]}
    assert (said["outcome"], said["message"]) == ("accepted", f"shed {seen['shed']} of {len(seen['lines'])} manifests")


def answered(line: Line) -> dict[str, Any] | None:
    """The plan once the planner is there to answer."""
    try:
        found: dict[str, Any] = line.api("/v1/retention")
    except OSError:
        return None
    return found


class DyingRegistry(Registry):
    """Fails for good after so many deletions."""

    left = 2

    async def delete_manifest(self, repository: str, digest: str) -> None:
        if not self.left:
            raise Unavailable("the registry has died", reason="registry_away")
        self.left -= 1
        await super().delete_manifest(repository, digest)


def test_who_died_in_between_finishes_the_plan_that_was_seen(stores: tuple[str, str]) -> None:
    async def story() -> None:
        async with opened(stores) as at, DyingRegistry(stores[1], plain_http=True) as dying:
            old, _ = await two_images(at)
            event = RetentionRequested(id="c-1", expected=(await plan(at)).token)
            with pytest.raises(Unavailable):
                await replace(at, registry=dying).handle(event)

            assert (await decided(at, event)).outcome == "accepted"
            assert not any((await there(at, old)).values())

    asyncio.run(story())


def test_a_registry_that_forbids_deletion_is_told_and_loses_nothing(tmp_path: Path) -> None:
    async def story(stores: tuple[str, str]) -> None:
        async with opened(stores) as at:
            old, _ = await two_images(at)
            event = RetentionRequested(id="c-1")
            with pytest.raises(EncliiError) as caught:
                await at.handle(event)
            await at.store.commit(await at.failed(event, caught.value))
            found = await at.store.get(Decision, "c-1")

            assert found is not None
            assert found.record.outcome == "refused"
            assert all((await there(at, old)).values())

    with running_nats(tmp_path / "n") as nats, running_registry(tmp_path / "r", delete=False) as registry:
        asyncio.run(story((nats, registry)))


def test_what_others_keep_in_the_registry_is_not_even_looked_at(stores: tuple[str, str]) -> None:
    async def story() -> None:
        async with opened(stores) as at:
            await two_images(at)
            await push_image(at.registry, "bases/python", tag="3")

            assert {line.repository for line in (await plan(at)).lines} == {REPOSITORY}
            assert len(await inventory(at.registry, ["bases/python", "no/such"])) == 1

    asyncio.run(story())
