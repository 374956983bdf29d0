"""A signing key that is rotated and then retired, at the real gate and over a real registry."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pipeline.errors import Refused
from pipeline.key_files import KeyFiles
from pipeline.keys import SigningKey, load_public
from pipeline.registry import Registry
from pipeline.supply import Link, sign_link, sign_release
from pipeline.trust import RetiredKey
from tests.support.committer_world import rollback
from tests.support.forgeries import SOURCE, SPDX, facts
from tests.support.policy_world import Shop, deciding, judge
from tests.support.registry import push_image, running_registry

FORMER, NOW = SigningKey.generate(), SigningKey.generate()


def test_a_retired_keys_release_is_refused_by_its_name_and_the_live_ones_keep_their_verdict(tmp_path: Path) -> None:
    async def story(shop: Shop) -> None:
        shop.world.committer = judge(shop.world, shop.registry, [NOW.public, FORMER.public])
        for number, key in ((1, FORMER), (2, NOW)):
            await shop.world.do(await shop.release(number, key=key))
            assert (await shop.decision(number)).outcome == "accepted"
            await shop.world.seen_running()

        shop.world.committer = judge(shop.world, shop.registry, [NOW.public, RetiredKey(FORMER.public)])
        await shop.world.do(await shop.release(3, key=FORMER))
        decision = await shop.decision(3)
        assert (decision.outcome, decision.reason) == ("refused", "retired_key")
        assert FORMER.public.hint in decision.message
        assert (await shop.world.target()).release == "shop.web.v2"

        await shop.world.do(rollback())
        assert (await shop.world.target()).release == "shop.web.v1"

    deciding(tmp_path, story)


def test_a_key_that_is_replaced_while_the_gate_runs_opens_it_without_a_new_start(tmp_path: Path) -> None:
    path = tmp_path / "signing.pub"
    path.write_bytes(FORMER.public.pem)
    keys = KeyFiles([path], lambda: [load_public(path)])

    async def story(shop: Shop) -> None:
        shop.world.committer = judge(shop.world, shop.registry, keys)
        await shop.world.do(await shop.release(1, key=NOW))
        assert (await shop.decision(1)).reason == "wrong_key"

        path.write_bytes(NOW.public.pem)
        await shop.world.do(await shop.release(2, key=NOW))
        assert (await shop.decision(2)).outcome == "accepted"

    deciding(tmp_path, story)


def test_an_image_of_a_rotated_key_is_used_again_and_one_of_a_retired_key_is_not(tmp_path: Path) -> None:
    async def story(registry: Registry) -> None:
        image = await push_image(registry, "shop/web")
        signed = await sign_release(registry, image, key=FORMER, provenance=facts(), sbom=SPDX)
        link = Link(SOURCE, "refs/heads/main", "d" * 40, "e" * 40, "f" * 64, signed.provenance, "r-2")

        with pytest.raises(Refused) as caught:
            await sign_link(registry, image, key=NOW, link=link, accepted=[RetiredKey(FORMER.public)])
        linked = await sign_link(registry, image, key=NOW, link=link, accepted=[FORMER.public])

        assert caught.value.reason == "retired_key"
        assert len(linked.added) == 1

    async def whole(host: str) -> None:
        async with Registry(host, plain_http=True) as registry:
            await story(registry)

    with running_registry(tmp_path) as host:
        asyncio.run(whole(host))
