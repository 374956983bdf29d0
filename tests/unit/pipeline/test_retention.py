"""What the registry keeps: nothing that anybody needs is ever shed, and what nobody needs goes with all beside it."""

from __future__ import annotations

import datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import retention
from pipeline.log_stream import subject
from pipeline.promotions import Member, Promotion
from pipeline.records import Deployment, Image, Job, Live, Release, ReplicaView, Target
from pipeline.retention import Held, Limits
from pipeline.retention_logs import going
from pipeline.retention_needs import Records, key_of, needs

NOW = datetime.datetime(2026, 5, 1, tzinfo=datetime.UTC)
LIMITS = Limits(grace=3600.0, cache=86_400.0)
HOST, REPOSITORY = "registry.example", "shop/web"


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def image(number: int) -> str:
    return f"{HOST}/{REPOSITORY}@{digest(number)}"


def tag(number: int) -> str:
    return "r-" + "abcdefghijklmnopqrstuvwxyz234567"[number] * 12


def held(number: int, *, tags: tuple[str, ...] | None = None, **more: Any) -> Held:
    return Held(REPOSITORY, digest(number), (tag(number),) if tags is None else tags, **more)


def evidence(number: int) -> list[Held]:
    """The list of referrers, one of them, and the signature in its older form."""
    of, name = digest(number), digest(number).replace(":", "-")
    listed = Held(REPOSITORY, digest(200 + number), beside=of)
    index = Held(REPOSITORY, digest(300 + number), (name,), members=(listed.digest,), beside=of)
    return [index, listed, Held(REPOSITORY, digest(400 + number), (f"{name}.sig",), beside=of)]


def days_ago(days: float) -> str:
    return (NOW - datetime.timedelta(days=days)).isoformat()


def known(number: int, *, days: float = 30.0) -> Image:
    return Image(
        build_key=str(number), image=image(number), sbom=digest(900), source_url="https://git.example/shop",
        sha="c" * 40, run=tag(number), built_at=days_ago(days),
    )  # fmt: skip


def target(number: int, **more: Any) -> Target:
    fields = {"deployment": f"d{number}", "release": "", "sha": "", "image": image(number), "config_commit": "", **more}
    return Target(project="shop", environment="production", service="web", **fields)


def deployment(number: int, **more: Any) -> Deployment:
    fields = {"status": "replaced", "config_commit": "c", "created_at": days_ago(100 - number), **more}
    return Deployment(
        id=f"d{number}",
        project="shop",
        environment="production",
        service="web",
        release="",
        image=image(number),
        **fields,
    )


def release(number: int) -> Release:
    return Release(
        id=f"shop.web.v{number}", project="shop", service="web", number=number, image=image(number), sha="c" * 40,
        ref="refs/heads/main", repository="local:shop", source_url="https://git.example/shop", actor="",
        subject_line="", run=tag(number), spec=msgspec.Raw(b"{}"), created_at=days_ago(100 - number),
    )  # fmt: skip


def kept(there: list[Held], records: Records, *, releases: int = 1) -> set[str]:
    decided = retention.fates(there, needs(records, releases=releases, now=NOW), LIMITS)
    return {one.held.digest for one in decided if one.keep}


def test_what_nothing_names_goes_with_all_that_lies_beside_it() -> None:
    records = Records(images=[known(1), known(2)], targets=[target(2)])

    there = [held(1), *evidence(1), held(2), *evidence(2)]

    assert kept(there, records) == {one.digest for one in (held(2), *evidence(2))}


LIVE = Live(
    project="shop", environment="production", service="web", deployment="", release="", image=image(9),
    status="running", health="healthy", ready=1, desired=1,
    replicas=(ReplicaView(name="a", state="running", digest=digest(1)),),
)  # fmt: skip
MOVING = Promotion(
    id="p", command="c", project="shop", environment="production", status="waiting",
    members=(Member(service="web", release="shop.web.v1", image=image(1)),),
)  # fmt: skip
GOING = Job(run=tag(1), project="shop", service="web", status="building", created_at=days_ago(2))


@pytest.mark.parametrize(
    "records",
    [
        Records(targets=[target(1)]),
        Records(lives=[LIVE]),
        Records(lives=[msgspec.structs.replace(LIVE, image=image(1), replicas=())]),
        Records(targets=[target(9, held_release="shop.web.v1")], releases=[release(1), release(9)]),
        Records(targets=[target(9, hold_from="shop.web.v1")], releases=[release(1), release(9)]),
        Records(deployments=[deployment(1)]),
        Records(deployments=[deployment(9), deployment(1, status="held", config_commit="")]),
        Records(deployments=[deployment(9), deployment(1, running_at=days_ago(50))]),
        Records(releases=[release(1)]),
        Records(promotions=[MOVING]),
        Records(jobs=[GOING]),
        Records(jobs=[msgspec.structs.replace(GOING, run="r-other", image=image(1), status="signing")]),
        Records(images=[known(1, days=0.01)]),
    ],
    ids=["wanted", "replica", "live", "waits", "held-from", "recent", "held", "ran", "newest", "promotion", "run",
         "job", "young"],
)  # fmt: skip
def test_one_record_that_names_an_image_keeps_it(records: Records) -> None:
    older = msgspec.structs.replace(known(1), build_key="older")

    assert digest(1) in kept([held(1)], Records(**{**_fields(records), "images": [older, *records.images]}))


def _fields(records: Records) -> dict[str, Any]:
    return dict(vars(records))


def test_an_environment_keeps_as_many_releases_as_are_asked_for() -> None:
    records = Records(deployments=[deployment(n) for n in range(1, 8)], images=[known(n) for n in range(1, 8)])

    found = kept([held(n) for n in range(1, 8)], records, releases=3)

    assert found == {digest(n) for n in (5, 6, 7)}


def test_the_members_of_a_kept_index_stay_and_those_of_another_go() -> None:
    parts = {n: held(100 + n, tags=()) for n in (1, 2)}
    indexes = [held(n, members=(parts[n].digest,)) for n in (1, 2)]
    ours = [msgspec.structs.replace(known(1), build_key=str(n), image=image(n)) for n in (1, 2, 101, 102)]

    found = kept([*indexes, *parts.values()], Records(targets=[target(1)], images=ours))

    assert found == {digest(1), digest(101)}


@pytest.mark.parametrize("tags", [("stable",), (tag(1), "stable"), ()])
def test_what_somebody_else_put_there_stays(tags: tuple[str, ...]) -> None:
    assert kept([held(1, tags=tags)], Records()) == {digest(1)}


@pytest.mark.parametrize(("days", "stays"), [(0.5, True), (2.0, False)])
def test_a_cache_goes_when_nothing_was_built_with_it_for_long(days: float, stays: bool) -> None:
    cache = Held("shop/web/cache", digest(5), ("main",))
    job = Job(run=tag(1), project="shop", service="web", status="deployed", finished_at=days_ago(days))

    assert (digest(5) in kept([cache], Records(jobs=[job]))) is stays


def test_evidence_goes_before_its_list_and_its_list_before_the_image() -> None:
    records = Records(images=[known(1)])

    order = [one.digest for one in retention.shed(retention.fates(
        [held(1), *evidence(1)], needs(records, releases=1, now=NOW), LIMITS))]  # fmt: skip

    assert order == [digest(201), digest(301), digest(401), digest(1)]


def test_bytes_that_a_kept_image_shares_are_not_freed() -> None:
    there = [held(1, blobs={"base": 100, "one": 7}), held(2, blobs={"base": 100, "two": 9})]
    records = Records(images=[known(1), known(2)], targets=[target(2)])

    assert retention.freed(retention.fates(there, needs(records, releases=1, now=NOW), LIMITS)) == 7


NUMBERS = st.integers(1, 12)
STATUSES = st.sampled_from(
    ["pending", "progressing", "running", "degraded", "failed", "held", "rolled_back", "replaced"]
)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Records, int]:
    """Any history of twelve images, as the records could tell it."""
    deployed = [
        msgspec.structs.replace(
            deployment(number), id=f"d{position}", status=draw(STATUSES), created_at=days_ago(draw(st.floats(0, 90))),
            config_commit=draw(st.sampled_from(["", "c"])), running_at=draw(st.sampled_from(["", days_ago(1)])),
        )
        for position, number in enumerate(draw(st.lists(NUMBERS, max_size=12)))
    ]  # fmt: skip
    waiting = draw(st.sampled_from(["", *(f"shop.web.v{n}" for n in range(1, 13))]))
    live = msgspec.structs.replace(LIVE, image=image(draw(NUMBERS)), replicas=())
    jobs = [
        msgspec.structs.replace(GOING, run=tag(n), status=draw(st.sampled_from(["queued", "building", "deployed"])))
        for n in draw(st.lists(NUMBERS, max_size=3, unique=True))
    ]
    records = Records(
        targets=[target(draw(NUMBERS), held_release=waiting)], lives=[live], deployments=deployed, jobs=jobs,
        releases=[release(n) for n in range(1, 13)],
        images=[known(n, days=draw(st.sampled_from([0.001, 1.0, 30.0]))) for n in range(1, 13)],
    )  # fmt: skip
    return records, draw(st.integers(1, 5))


@given(worlds())
def test_nothing_that_is_wanted_runs_waits_is_young_or_is_among_the_last_is_ever_shed(
    world: tuple[Records, int],
) -> None:
    records, releases = world
    there = [one for number in range(1, 13) for one in (held(number), *evidence(number))]

    found = kept(there, records, releases=releases)

    for named in _needed(records, releases):
        number = int(named.removeprefix("sha256:"), 16)
        assert {one.digest for one in (held(number), *evidence(number))} <= found


def _needed(records: Records, releases: int) -> set[str]:
    """The same in other words: straight from the promise, without the code under test."""
    committed = sorted((one for one in records.deployments if one.config_commit), key=lambda one: one.created_at)
    last: list[str] = []
    for one in reversed(committed):
        if one.image not in last and len(last) < releases:
            last.append(one.image)
    open_ = [
        one.image for one in records.deployments if one.status in ("pending", "progressing", "running", "degraded")
    ]
    waits = [one.image for one in records.releases if one.id in {t.held_release for t in records.targets}]
    young = [one.image for one in records.images if one.built_at > (NOW - datetime.timedelta(minutes=59)).isoformat()]
    building = [
        image(n) for n in range(1, 13) for job in records.jobs if job.run == tag(n) and job.status != "deployed"
    ]
    named = [*last, *open_, *waits, *young, *building, *(t.image for t in records.targets), records.lives[0].image]
    return {key[1] for one in named if (key := key_of(one)) is not None}


def test_the_image_of_a_second_build_that_compares_goes_with_its_time() -> None:
    again = held(1, tags=(f"{tag(1)}-again",))
    job = msgspec.structs.replace(GOING, status="deployed", finished_at=days_ago(2))
    young = msgspec.structs.replace(job, finished_at=days_ago(0.01))

    assert kept([again], Records(jobs=[job])) == set()
    assert kept([again], Records(jobs=[young])) == {digest(1)}


def test_the_cache_of_a_preview_goes_with_the_preview_and_the_branchs_stays() -> None:
    caches = [
        Held(REPOSITORY + "/cache", digest(1), ("abcdabcdabcdabcd-main",)),
        Held(REPOSITORY + "/cache", digest(2), ("abcdabcdabcdabcd-preview-7",)),
        Held(REPOSITORY + "/cache", digest(3), ("abcdabcdabcdabcd-preview-8",)),
    ]
    job = msgspec.structs.replace(GOING, status="deployed", finished_at=days_ago(0.1))

    found = kept(caches, Records(jobs=[job], previews=frozenset({("shop", "preview-8")})))

    assert found == {digest(1), digest(3)}


@pytest.mark.parametrize(
    ("job", "stays"),
    [
        ({"status": "deployed", "image": image(1), "finished_at": days_ago(90)}, True),
        ({"status": "deployed", "image": image(2), "finished_at": days_ago(90)}, False),
        ({"status": "deployed", "image": image(2), "finished_at": days_ago(0.01)}, True),
        ({"status": "failed", "finished_at": days_ago(0.5)}, True),
        ({"status": "failed", "finished_at": days_ago(90)}, False),
        ({"status": "building", "created_at": days_ago(90)}, True),
    ],
    ids=["image stays", "image goes", "young", "failed lately", "failed long ago", "on its way"],
)
def test_a_log_is_kept_as_long_as_its_image(job: dict[str, Any], stays: bool) -> None:
    known_job = msgspec.structs.replace(GOING, **job)
    stored = {subject(known_job.run, known_job.service)}

    found = going(stored, Records(jobs=[known_job]), {(REPOSITORY, digest(1))}, LIMITS, now=NOW)

    assert [one.job.run for one in found] == ([] if stays else [known_job.run])
