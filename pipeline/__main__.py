"""``python -m pipeline planner|builder|signer``: composes one stage with its ports and runs it.

``python -m pipeline setup`` makes the streams.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from pipeline.errors import Invalid
from pipeline.events import (
    BuildRequested,
    CancelRequested,
    Delivery,
    DeployRequested,
    ImageBuilt,
    ImageRebuilt,
    PreviewRequested,
    PullRequestChanged,
    ReleaseReady,
    RetentionRequested,
)
from pipeline.main import Process, in_background, looking_for, main, room
from pipeline.registries import configured, registries_of
from pipeline.registry import Registry
from pipeline.worker import Stage, work

if TYPE_CHECKING:
    from pipeline.settings import Settings
    from pipeline.stages.build import BuildStage
    from pipeline.stages.plan import Planner
    from pipeline.trust import Signs


async def planner(process: Process) -> None:
    """Deliveries become runs."""
    from pipeline.mirrors import Mirrors
    from pipeline.stages.cancel import Canceller
    from pipeline.stages.plan import Planner
    from pipeline.stages.rebase import Rebase, asker

    mirrors = Mirrors(process.settings, room(process.settings, "mirrors"))
    async with configured(process.settings) as images:
        stage = Planner(process.store, images, mirrors.of, process.settings.build_context)
        deliveries = Stage("planner", (Delivery,), stage.handle, stage.failed, at_once=8)
        cancels = Stage("canceller", (CancelRequested,), Canceller(process.store).handle)
        commands = Stage("planner-deploys", (DeployRequested,), stage.handle, stage.failed)
        rebase = Rebase(process.store, stage.handle, asker(registries_of(process.settings)))
        async with retention(process, images), previews(process, stage, images), asyncio.TaskGroup() as group:
            group.create_task(rebase.on_schedule(process.settings.rebuild, process.stopping))
            group.create_task(work(deliveries, process.store, process.stopping))
            group.create_task(work(commands, process.store, process.stopping))
            group.create_task(work(cancels, process.store, process.stopping))


@contextlib.asynccontextmanager
async def previews(process: Process, planner: Planner, images: Registry) -> AsyncIterator[None]:
    """Previews: asked for, built, looked after and ended, until the process shall end."""
    from pipeline.preview_life import Limits
    from pipeline.previews import HITS
    from pipeline.stages.preview import Previews
    from pipeline.stages.preview_plan import PreviewPlanner
    from pipeline.stages.preview_shed import Shedder
    from pipeline.stages.preview_watch import Watcher

    told, store = process.settings, process.store
    limits = Limits(told.preview_domain, told.preview_idle, told.preview_sleep, told.preview_cap, told.preview_cap_all)
    stage = Previews(store, PreviewPlanner(planner), limits)
    watcher = Watcher(stage, Shedder(store, images), told.preview_sweep)
    takes = (PreviewRequested, PullRequestChanged)
    asked = Stage("previews", takes, stage.handle, stage.failed, at_once=1)
    heard = store.bus.answer_many(HITS, watcher.heard)
    async with in_background(watcher.follow(), heard, work(asked, store, process.stopping)):
        yield


@contextlib.asynccontextmanager
async def retention(process: Process, images: Registry) -> AsyncIterator[None]:
    """The registry's retention: plans for whoever asks, carried out on request, until the process shall end."""
    from pipeline.retention import Limits
    from pipeline.retention_plan import SUBJECT
    from pipeline.stages.retain import Retainer

    told = process.settings
    limits = Limits(told.retention_grace, told.retention_cache)
    stage = Retainer(process.store, images, told.retention_releases, limits)
    requests = Stage("retention", (RetentionRequested,), stage.handle, stage.failed)
    answers = process.store.bus.answer_many(SUBJECT, stage.answer)
    room_for_logs = stage.make_room(process.stopping)
    async with in_background(answers, room_for_logs, work(requests, process.store, process.stopping)):
        yield


async def builder(process: Process) -> None:
    """Sources become images; what a killed builder left is swept first."""
    from pipeline.build_inputs import inputs_of
    from pipeline.builders import choice
    from pipeline.fair_work import work_fairly
    from pipeline.stages.build import BuildStage
    from pipeline.turns import Turns
    from pipeline.watermark import Watermark

    told = process.settings
    place = room(told, "builder")
    with looking_for(process, "what builds"):
        chosen = await choice.choose(told, place)
    await choice.announce(chosen, told, process.store)
    await choice.sweep(chosen, room(told, "builds"))
    room_left = Watermark(place, told.build_watermark, told.build_cache_size, chosen)
    process.checks["disk"] = room_left.check
    try:
        async with configured(told) as images:
            stage = BuildStage(process.store, images, chosen, inputs_of(told, chosen), room(told, "builds"))
            async with build_secrets(process), reproducing(process, stage):
                await work_fairly(
                    Stage("builder", (BuildRequested,), stage.handle, stage.failed),
                    process.store, process.stopping, gate=room_left.passed, share=choice.share,
                    turns=Turns(told.build_slots, cap=told.build_per_repository),
                )  # fmt: skip
    finally:
        for one in chosen.builders():
            await one.close()


@contextlib.asynccontextmanager
async def build_secrets(process: Process) -> AsyncIterator[None]:
    """Whoever has the right sets what builds may mount, sealed to this process."""
    from pipeline import build_secrets as about

    bus, told = process.store.bus, process.settings
    keeper = about.BuildSecretKeeper(told.below_home(told.build_secrets))
    answers = {about.KEY_SUBJECT: keeper.key, about.KEEP_SUBJECT: keeper.keep, about.LIST_SUBJECT: keeper.listed}
    async with in_background(*(bus.answer(subject, reply) for subject, reply in answers.items())):
        yield


@contextlib.asynccontextmanager
async def reproducing(process: Process, builds: BuildStage) -> AsyncIterator[None]:
    """A sample of what was released is built a second time, one after the other, where that is asked for."""
    if not process.settings.reproduce:
        yield
        return
    from pipeline.stages.reproduce import Reproducer

    stage = Reproducer(process.store, builds, process.settings.reproduce)
    async with in_background(
        work(Stage("reproducer", (ReleaseReady,), stage.handle, at_once=1), process.store, process.stopping)
    ):
        yield


async def signer(process: Process) -> None:
    """Images become releases."""
    from pipeline import keys
    from pipeline.key_files import accepted_keys
    from pipeline.stages.sign import AT_ONCE, Signer
    from pipeline.stages.witness import Witness
    from pipeline.trust import Identity

    told = process.settings
    with looking_for(process, "what signs"):
        key = await what_signs(told)
    if not isinstance(key, Identity):
        keys.write_public(told.below_home(told.verify_key), key.public)
    path = told.below_home(told.preview_key)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    previews = keys.load_or_make(path)
    keys.write_public(told.below_home(told.preview_verify_key), previews.public)
    async with configured(told) as images:
        stage = Signer(process.store, images, key, told.builder_id, previews, accepted_keys(told))
        signing = Stage("signer", (ImageBuilt,), stage.handle, stage.failed, at_once=AT_ONCE)
        witness = Witness(process.store, images, key, told.builder_id)
        comparisons = Stage("witness", (ImageRebuilt,), witness.handle)
        async with asyncio.TaskGroup() as group:
            group.create_task(work(signing, process.store, process.stopping))
            group.create_task(work(comparisons, process.store, process.stopping))


async def what_signs(told: Settings) -> Signs:
    """The key in its file, made at the first start, the one in an HSM or a KMS, or an identity without any.

    Raises Invalid, Unavailable, Refused.
    """
    from pipeline import keys

    if told.signing_uri:
        from pipeline import remote_key

        wanted = remote_key.environment_of(told.below_home(told.signing_environment))
        os.environ.update(wanted)  # the libraries of clouds, of PKCS #11 and of ambient tokens look nowhere else
        if told.signing_uri == "keyless:":
            return await identity(told)
        return await remote_key.open_key(told.signing_uri, public=told.below_home(told.verify_key), environment=wanted)
    path = told.below_home(told.signing_key)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return keys.load_or_make(path)


async def identity(told: Settings) -> Signs:
    """Whoever the configured token says we are. Raises Invalid, Unavailable, Refused."""
    from pipeline import keyless

    if not (told.keyless_identity and told.keyless_issuer):
        raise Invalid("keyless: needs ENCLII_KEYLESS_IDENTITY and ENCLII_KEYLESS_ISSUER too", reason="bad_identity")
    root = keyless.open_root(told.below_home(told.sigstore_root))
    certified = root.identity(told.keyless_identity, told.keyless_issuer)
    token = keyless.token_from(told.identity_token, told.home)
    return await keyless.open_keyless(certified, root, fulcio=told.fulcio_url, rekor=told.rekor_url, token=token)


PROCESSES = {"planner": planner, "builder": builder, "signer": signer}

if __name__ == "__main__":
    if sys.argv[1:] == ["setup"]:
        from pipeline.structure import setup

        setup()
        sys.exit()
    if len(sys.argv) != 2 or sys.argv[1] not in PROCESSES:
        sys.exit(f"usage: python -m pipeline {'|'.join(PROCESSES)}|setup")
    main(sys.argv[1], PROCESSES[sys.argv[1]])
