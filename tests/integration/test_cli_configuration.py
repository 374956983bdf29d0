"""What a service is configured with, scaled to and drifted from, as the program shows it against a real API."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from pipeline.records import Deployment, Live, Release, Target
from tests.integration import console_records as data
from tests.integration.console_server import Console, with_console
from tests.integration.test_cli import PLACE, enclii


def configured(number: int, env: str) -> Release:
    """A release with a secret and these variables."""
    image, sha, at = (data.IMAGE1, data.SHA1, data.AT1) if number == 1 else (data.IMAGE2, data.SHA2, data.AT2)
    spec = f'{{"name":"web","env":{env},"secrets":["TOKEN"],"environments":{{"staging":{{"env":{{"LEVEL":"warn"}}}}}}}}'
    return msgspec.structs.replace(data.release(number, image, sha, at), spec=msgspec.Raw(spec.encode()))


async def one(console: Console, kind: type, *key: str) -> object:
    found = await console.store.get(kind, *key)
    assert found is not None
    return found.record


async def two_sides(console: Console) -> None:
    """v1 runs, git wants v2."""
    await console.put(*data.shop(), configured(1, '{"LEVEL":"info","OLD":"1"}'), configured(2, '{"LEVEL":"debug"}'))
    target = await one(console, Target, "shop", "production", "web")
    live = await one(console, Live, "shop", "production", "web")
    assert isinstance(target, Target)
    assert isinstance(live, Live)
    wanted = await one(console, Deployment, target.deployment)
    assert isinstance(wanted, Deployment)
    running = msgspec.structs.replace(wanted, id="d-before", release="shop.web.v1", secrets={"TOKEN": 1})
    await console.put(
        msgspec.structs.replace(wanted, release="shop.web.v2", secrets={"TOKEN": 2}), running,
        msgspec.structs.replace(live, deployment=running.id, release=running.release),
    )  # fmt: skip


def test_env_list_shows_the_values_that_git_wants_and_secrets_by_version(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await two_sides(console)
        ended = await enclii(console, tmp_path, "env", "list", *PLACE)
        assert [row.split(maxsplit=1) for row in ended.out.splitlines()[1:]] == [
            ["LEVEL", "debug"], ["TOKEN", "(secret v2)"],
        ]  # fmt: skip

    with_console(tmp_path, story)


def test_env_diff_shows_what_runs_against_what_git_wants(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await two_sides(console)
        ended = await enclii(console, tmp_path, "env", "diff", *PLACE)
        assert ended.out.splitlines() == [
            "- LEVEL=info", "+ LEVEL=debug", "- OLD=1", "- TOKEN=(secret v1)", "+ TOKEN=(secret v2)",
        ]  # fmt: skip
        answer = json.loads((await enclii(console, tmp_path, "env", "diff", *PLACE, "-o", "json")).out)
        assert answer["changes"][1] == {"name": "OLD", "from": "1", "to": None}

    with_console(tmp_path, story)


def test_env_diff_of_an_environment_that_has_nothing_shows_all_of_it(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await two_sides(console)
        ended = await enclii(console, tmp_path, "env", "diff", *PLACE, "--with", "staging")
        assert ended.out.splitlines() == ["- LEVEL=debug", "- TOKEN=(secret v2)"]

    with_console(tmp_path, story)


def test_a_count_that_was_scaled_to_and_drift_are_seen_in_ps_and_status(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        before = await enclii(console, tmp_path, "ps", *PLACE)
        assert "scaled" not in before.out
        assert "drifted" not in before.out

        target = await one(console, Target, "shop", "production", "web")
        live = await one(console, Live, "shop", "production", "web")
        assert isinstance(target, Target)
        assert isinstance(live, Live)
        drift = ("Deployment web: was changed by kubectl-edit",)
        await console.put(msgspec.structs.replace(target, scaled=3), msgspec.structs.replace(live, drift=drift))
        shown = await enclii(console, tmp_path, "ps", *PLACE)
        told = await enclii(console, tmp_path, "status", *PLACE)
        assert "scaled to 3" in shown.out.splitlines()[0]
        assert "drifted" in shown.out.splitlines()[0]
        assert "scaled    to 3 replicas, not as enclii.yaml says" in told.out.splitlines()
        assert "drift     Deployment web: was changed by kubectl-edit" in told.out.splitlines()

    with_console(tmp_path, story)
