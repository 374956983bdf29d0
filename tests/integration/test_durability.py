"""A process starts on a NATS that syncs before it acknowledges, and refuses one that may lose what it took."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import durability
from pipeline.errors import Refused
from pipeline.settings import MAY_LOSE
from tests.support.line import ROOT, eventually
from tests.support.nats import monitor_of, running_nats


def receiver(home: Path, nats: str, **more: str) -> subprocess.Popen[str]:
    """A receiver on that NATS, which it takes for its own."""
    env = {
        "PATH": os.environ["PATH"],
        "ENCLII_HOME": str(home),
        "ENCLII_NATS_URL": nats,
        "ENCLII_NATS_MONITOR_URL": monitor_of(nats),
        "ENCLII_WEBHOOK_SECRETS": "root-secret",
    } | more
    argv = (sys.executable, "-m", "ingest", "receiver")
    return subprocess.Popen(argv, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_a_process_refuses_a_nats_that_acknowledges_before_it_syncs(tmp_path: Path) -> None:
    with running_nats(tmp_path / "nats", sync='"2m"') as nats:
        process = receiver(tmp_path, nats)
        said, _ = process.communicate(timeout=60)

    assert process.returncode == 1
    assert "syncs every 120 s only" in said
    assert "sync_interval: always" in said


def test_whoever_says_so_in_words_may_lose_acknowledged_work(tmp_path: Path) -> None:
    with running_nats(tmp_path / "nats", sync='"2m"') as nats:
        process = receiver(tmp_path, nats, ENCLII_DURABILITY=MAY_LOSE)
        assert process.stdout is not None
        try:
            first = eventually(process.stdout.readline, what="the process logs")
        finally:
            process.terminate()
            process.communicate(timeout=120)

    assert "may be lost" in first


def test_a_nats_that_syncs_first_says_so_on_its_page(tmp_path: Path) -> None:
    with running_nats(tmp_path) as nats:
        [found] = asyncio.run(durability.nats_syncs(monitor_of(nats)))

    assert found.always
    assert "syncs before it acknowledges" in found.told()


def test_one_weak_server_of_several_is_enough_to_refuse(tmp_path: Path) -> None:
    with running_nats(tmp_path / "a") as strong, running_nats(tmp_path / "b", sync="1s") as weak:
        monitors = f"{monitor_of(strong)},{monitor_of(weak)}"

        with pytest.raises(Refused, match="every 1 s only") as refused:
            asyncio.run(durability.demand_nats(monitors, "fsync"))

    assert refused.value.reason == "nats_not_durable"


def test_a_check_that_cannot_be_made_fails() -> None:
    with pytest.raises(Refused) as refused:
        asyncio.run(durability.demand_nats("http://127.0.0.1:9", "fsync", patience=0.0))

    assert refused.value.reason == "durability_unknown"


def test_a_git_that_knows_no_fsync_setting_is_refused(tmp_path: Path) -> None:
    old = tmp_path / "git"
    old.write_text("#!/bin/sh\necho git version 2.30.2\n")
    old.chmod(old.stat().st_mode | stat.S_IXUSR)

    with pytest.raises(Refused, match=r"2\.30\.2"):
        asyncio.run(durability.demand_git("fsync", program=str(old)))
