"""Which requests are the same: those of one caller, in one project, with one key, that say the same."""

from __future__ import annotations

import re

from console.asking import command_id, wish
from pipeline.events import DeployRequested, HoldRequested

BODY = {"project": "shop", "environment": "staging", "sha": "a" * 40}


def test_the_same_key_is_another_command_for_another_caller_or_project() -> None:
    asked = [("sam", "shop"), ("sam", "shop"), ("dee", "shop"), ("sam", "other")]

    first, again, *others = [command_id("k", actor=actor, project=project) for actor, project in asked]

    assert first == again
    assert len({first, *others}) == 3


def test_a_key_cannot_be_the_id_of_another_decision() -> None:
    asked = wish(DeployRequested, BODY, key="shop.web.v42/production", actor="sam")

    assert re.fullmatch("k-[a-z2-7]{26}", asked.id)


def test_a_request_is_known_again_by_what_it_says_in_whatever_order() -> None:
    first = wish(DeployRequested, BODY, key="k", actor="sam")

    assert wish(DeployRequested, dict(reversed(BODY.items())), key="k", actor="sam") == first
    assert wish(DeployRequested, BODY | {"force": True}, key="k", actor="sam").digest != first.digest
    assert wish(HoldRequested, BODY, key="k", actor="sam").digest != first.digest
