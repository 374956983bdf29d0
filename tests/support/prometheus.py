"""A real Prometheus for one test, with the shipped rules, in whose time a minute is a second.

What the rules count in seconds, the spans that they look over and the patience of their ``for`` are divided by sixty.
What they ask, and of which metrics and labels, is what is shipped.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

from ruamel.yaml import YAML

from pipeline.process import orphan_proof
from tests.support.components import needs
from tests.support.free_ports import free_port
from tests.support.line import ROOT, eventually

MONITORING = ROOT / "manifests" / "monitoring"
FASTER = 60
SCRAPE = 3
"""Seconds between two looks at each process."""
UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
IN_SECONDS = ("EncliiEventsWait", "EncliiBuildsSlow", "EncliiRollbacksSlow")
"""The alerts whose limit is a time."""


def shipped() -> list[dict[str, Any]]:
    """The groups of rules as they are installed."""
    spec = YAML(typ="safe").load((MONITORING / "rules.yaml").read_text())["spec"]
    return list(json.loads(json.dumps(spec["groups"])))


def alerts() -> set[str]:
    """The names of all alerts."""
    return {rule["alert"] for group in shipped() for rule in group["rules"] if "alert" in rule}


def faster() -> list[dict[str, Any]]:
    """The same, sixty times as fast."""
    groups = shipped()
    for group in groups:
        group.pop("interval", None)
        for rule in group["rules"]:
            rule["expr"] = re.sub(r"(?<=\[)\d+[smhd](?=\])", lambda found: _sooner(found[0]), rule["expr"])
            if rule.get("alert") in IN_SECONDS:
                rule["expr"] = re.sub(r"(?<=> )\d+", lambda found: f"{int(found[0]) / FASTER:g}", rule["expr"])
            if "for" in rule:
                rule["for"] = _sooner(rule["for"])
    return groups


def _sooner(span: str) -> str:
    return f"{max(1000 * int(span[:-1]) * UNITS[span[-1]] // FASTER, 1000)}ms"


class Prometheus:
    """One that runs."""

    def __init__(self, folder: Path, port: int) -> None:
        self._targets = folder / "targets.json"
        self._url = f"http://127.0.0.1:{port}"

    def scrape(self, ports: Mapping[str, int]) -> None:
        """Look from now on at these too: the port of each process, by the name that the pod monitor would give."""
        known = json.loads(self._targets.read_text()) if self._targets.exists() else []
        more = [{"targets": [f"127.0.0.1:{port}"], "labels": {"job": f"enclii-{name}"}} for name, port in ports.items()]
        written = self._targets.with_suffix(".new")
        written.write_text(json.dumps(known + more))
        written.replace(self._targets)

    def ready(self) -> bool:
        with urlopen(f"{self._url}/-/ready", timeout=60) as answer:
            return bool(answer.status == 200)

    def all_seen(self) -> bool:
        """Whether each process was looked at and answered."""
        count = len(json.loads(self._targets.read_text()))
        return [one["value"][1] for one in self._asked("sum(up)")] == [str(count)]

    def fired(self) -> set[str]:
        """The alerts that fired since it runs."""
        found = self._asked('max by (alertname) (max_over_time(ALERTS{alertstate="firing"}[1h]))')
        return {one["metric"]["alertname"] for one in found}

    def _asked(self, query: str) -> list[dict[str, Any]]:
        with urlopen(f"{self._url}/api/v1/query?query={quote(query)}", timeout=60) as answer:
            return list(json.load(answer)["data"]["result"])


@contextlib.contextmanager
def running_prometheus(folder: Path) -> Iterator[Prometheus]:
    """Yield it once it is ready; it looks at nothing yet."""
    program, port = needs("prometheus"), free_port()
    folder.mkdir(parents=True)
    (folder / "rules.json").write_text(json.dumps({"groups": faster()}))  # JSON is YAML
    (folder / "prometheus.json").write_text(json.dumps(_configuration(folder)))
    argv = (
        program,
        f"--config.file={folder}/prometheus.json",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    found = Prometheus(folder, port)
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(orphan_proof(argv), stdout=log, stderr=subprocess.STDOUT)
    try:
        eventually(found.ready, what="Prometheus is ready")
        yield found
    finally:
        process.kill()  # nothing of it is kept
        process.wait()


def _configuration(folder: Path) -> dict[str, Any]:
    every = {"scrape_interval": f"{SCRAPE}s", "scrape_timeout": f"{SCRAPE}s", "evaluation_interval": "1s"}
    found = {"job_name": "enclii", "file_sd_configs": [{"files": [str(folder / "targets.json")]}]}
    return {"global": every, "rule_files": [str(folder / "rules.json")], "scrape_configs": [found]}
