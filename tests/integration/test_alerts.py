"""Alerts, service levels and the dashboard, judged by promtool: each alert fires when it should and has a runbook."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline import measures
from tests.support.components import needs
from tests.support.line import ROOT

MONITORING = ROOT / "manifests" / "monitoring"
SPEC = YAML(typ="safe").load((MONITORING / "rules.yaml").read_text())["spec"]
RULES = [rule for group in SPEC["groups"] for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
BUILT = 'enclii_event_seconds_bucket{stage="builder",outcome="done",le="%s"}'
BACK = 'enclii_rollout_seconds_bucket{via="rollback",le="%s"}'
ASKED = 'enclii_requests_total{client="cli",code="%s"}'
FIRING: dict[str, tuple[str, dict[str, str]]] = {
    "EncliiEventsWait": ("20m", {'enclii_queue_oldest_seconds{stage="signer"}': "301+0x40"}),
    "EncliiParkedEvents": ("20m", {'enclii_parked_events{stage="committer"}': "1+0x40"}),
    "EncliiSigningFails": ("30m", {'enclii_event_seconds_count{stage="signer",outcome="retried"}': "0+1x60"}),
    "EncliiDrift": ("40m", {'enclii_drift{project="shop",environment="production",service="web"}': "1+0x80"}),
    "EncliiResidue": ("40m", {"enclii_residue": "1+0x80"}),
    "EncliiDeliveryGap": ("30m", {'enclii_deliveries_total{forge="github",kind="sweep"}': "0+1x60"}),
    "EncliiNotSynced": ("5m", {'enclii_fsync{server="n1"}': "0+0x20", 'enclii_fsync{server="n2"}': "1+0x20"}),
    "EncliiExpiresSoon": ("5m", {'enclii_expiry_timestamp_seconds{kind="certificate",name="console"}': "1000000+0x20"}),
    "EncliiDown": ("10m", {'up{job="enclii-signer"}': "0+0x40"}),
    "EncliiNotReady": ("10m", {'enclii_ready{job="enclii-signer",check="nats"}': "0+0x40"}),
    "EncliiBuilderDiskFull": ("10m", {'enclii_ready{job="enclii-builder",check="disk"}': "0+0x40"}),
    "EncliiBuildsSlow": ("2h", {BUILT % "480": "0+0x400", BUILT % "900": "0+1x400", BUILT % "+Inf": "0+1x400"}),
    "EncliiRollbacksSlow": ("1h", {BACK % "30": "0+0x200", BACK % "60": "0+1x200", BACK % "+Inf": "0+1x200"}),
    "EncliiCliErrors": ("1h", {ASKED % "5xx": "0+1x200", ASKED % "2xx": "0+9x200"}),
    "EncliiAvailabilityLow": ("1h", {'up{job="enclii-console"}': "1x60 0x4 1x200"}),
}
"""What makes each alert fire, and by when; in promtool's notation, a value every 30 seconds."""
HEALTHY = {
    'enclii_queue_oldest_seconds{stage="signer"}': "10+0x400", 'enclii_parked_events{stage="committer"}': "0+0x400",
    "enclii_residue": "0+0x400", 'enclii_deliveries_total{forge="github",kind="told"}': "0+1x400",
    'enclii_deliveries_total{forge="github",kind="sweep"}': "3+0x400", 'enclii_fsync{server="n1"}': "1+0x400",
    'enclii_expiry_timestamp_seconds{kind="certificate",name="console"}': "9000000+0x400",
    'up{job="enclii-signer"}': "1+0x400", 'enclii_ready{job="enclii-signer",check="nats"}': "1+0x400",
    BUILT % "480": "0+1x400", BUILT % "+Inf": "0+1x400", BACK % "30": "0+1x400", BACK % "+Inf": "0+1x400",
    ASKED % "2xx": "0+9x400",
}  # fmt: skip
HEALTHY_AT = "3h"


def _promtool(folder: Path, *argv: str) -> None:
    done = subprocess.run(
        (needs("promtool"), *argv), cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _rules(folder: Path) -> None:
    (folder / "rules.json").write_text(json.dumps({"groups": SPEC["groups"]}))  # JSON is YAML


def _story(at: str, series: dict[str, str], firing: dict[str, int]) -> dict[str, Any]:
    return {
        "interval": "30s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertname="{name}", alertstate="firing"}}) or vector(0)',
                "eval_time": at,
                "exp_samples": [{"labels": "{}", "value": count}],
            }
            for name, count in firing.items()
        ],
    }


def test_promtool_understands_the_rules_and_every_alert_can_fire(tmp_path: Path) -> None:
    needs("promtool")
    _rules(tmp_path)
    _promtool(tmp_path, "check", "rules", "rules.json")
    stories = [_story(at, series, {name: 1}) for name, (at, series) in FIRING.items()]
    stories.append(_story(HEALTHY_AT, HEALTHY, dict.fromkeys(ALERTS, 0)))
    told = {"rule_files": ["rules.json"], "evaluation_interval": "30s", "tests": stories}
    (tmp_path / "tests.json").write_text(json.dumps(told))

    _promtool(tmp_path, "test", "rules", "tests.json")

    assert FIRING.keys() == ALERTS.keys()


@pytest.mark.parametrize("name", sorted(ALERTS))
def test_an_alert_names_a_runbook_that_is_there(name: str) -> None:
    runbook = ROOT / ALERTS[name]["annotations"]["runbook_url"]

    assert runbook.is_file()
    assert name in runbook.read_text()


def test_each_panel_asks_what_prometheus_understands(tmp_path: Path) -> None:
    needs("promtool")
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    rules = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(asked)]
    (tmp_path / "panels.json").write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))

    _promtool(tmp_path, "check", "rules", "panels.json")

    assert len(asked) >= len(dashboard["panels"])


def test_rules_and_panels_name_only_what_is_measured() -> None:
    sources = "\n".join(path.read_text() for path in (ROOT / "console").glob("*.py"))
    known = {one.name for one in measures._KEPT} | set(re.findall(r'"(enclii_[a-z_]+)"', sources)) | {"enclii_ready"}
    text = "\n".join((MONITORING / name).read_text() for name in ("rules.yaml", "dashboard.json"))
    asked = {re.sub("_(bucket|count|sum)$", "", one) for one in re.findall(r"\benclii_[a-z_]+", text)} - {"enclii_"}

    assert asked <= known
