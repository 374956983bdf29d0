"""What ``enclii install`` would apply: the same each time, accepted by a real API server, and no right too many."""

from __future__ import annotations

import difflib
import functools
import json
import os
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from console.installing import documents
from pipeline.settings import PROCESSES, Settings, granted, table
from tests.support.components import needs
from tests.support.installing import IMAGE, enclii, rendered, workloads
from tests.support.kubernetes import kubectl
from tests.support.schema import problems

GOLDEN = Path(__file__).parent.parent / "golden"
ELSEWHERE = frozenset({"PodMonitor", "ServiceMonitor", "PrometheusRule", "ScaledObject"})
"""Kinds of custom resources that the kit's cluster does not have: held against their published schemas instead."""
SCHEMAS = json.loads((Path(__file__).parent.parent / "data/platform/schemas.json").read_text())
OVERLAYS = ("small", "ha")
HERE = tuple(name for name in PROCESSES if name != "door")
"""In a cluster the Ingress is the front door."""


@functools.cache
def text(overlay: str) -> str:
    return enclii("install", "--render", "--overlay", overlay, "--image", IMAGE).stdout


def lasting(rendered: str) -> list[str]:
    """The lines but for the version and the rights of NATS' users, which are held against the code elsewhere."""
    named = re.sub(r"\b(nats-config)-[a-z0-9]{10}\b", r"\1", rendered)
    return [line for line in named.splitlines() if not line.startswith(("  version: ", "  nats.conf: "))]


def of(overlay: str) -> list[dict[str, Any]]:
    return documents.read(text(overlay))


def test_the_small_overlay_is_rendered_as_it_was_read_last() -> None:
    assert lasting(text("small")) == (GOLDEN / "install-small.yaml").read_text().splitlines()


def test_the_ha_overlay_differs_from_the_small_one_as_it_was_read_last() -> None:
    small, large = (lasting(text(name)) for name in OVERLAYS)
    difference = [line for line in difflib.unified_diff(small, large, n=0, lineterm="") if not line.startswith("@@")]
    assert difference == (GOLDEN / "install-ha.diff").read_text().splitlines()


def test_two_renderings_are_the_same_bytes() -> None:
    assert enclii("install", "--render", "--overlay", "ha", "--image", IMAGE).stdout == text("ha")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_api_server_accepts_every_document_under_the_standards_that_it_asks_for(overlay: str) -> None:
    needs("kubernetes")
    namespace = f"render-{uuid4().hex[:6]}"
    found = [one for one in rendered("--overlay", overlay, "-n", namespace) if one["kind"] not in ELSEWHERE]
    made = [one for one in found if one["kind"] == "Namespace"]
    try:
        kubectl("apply", "--server-side", "-f", "-", stdin=documents.write(made))
        said = kubectl(
            "apply", "--server-side", "--dry-run=server", "--validate=strict", "--warnings-as-errors", "-f", "-",
            stdin=documents.write(one for one in found if "-builds" not in one["metadata"].get("namespace", "")),
        )  # fmt: skip
        builds = [one for one in found if "-builds" in one["metadata"].get("namespace", "")]
        kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-",
                stdin=documents.write(builds))  # fmt: skip
    finally:
        kubectl("delete", "namespace", namespace, f"{namespace}-builds", "--wait=false", check=False)
    assert len(said.splitlines()) == len(found) - len(builds)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_published_schemas_accept_what_the_cluster_does_not_know(overlay: str) -> None:
    found = [one for one in of(overlay) if one["kind"] in ELSEWHERE]
    wrong = [
        (one["metadata"]["name"], problem)
        for one in found
        for problem in problems(one["spec"], SCHEMAS[f"{one['apiVersion']} {one['kind']}"])
    ]
    assert found
    assert wrong == []


@pytest.mark.parametrize("process", HERE)
def test_a_process_is_given_the_secrets_that_the_table_grants_it_and_no_other(process: str) -> None:
    pod = workloads(of("small"))[process]
    sources = next(one for one in pod["volumes"] if one["name"] == "secrets")["projected"]["sources"]
    paths = {item["path"] for one in sources for item in one["secret"]["items"]}
    told = {row.env: row for row in granted(process)}
    settings = _settings()
    wanted = {
        Path(value).name for name, value in settings.items()
        if value.startswith("/etc/enclii/secrets/") and name.removesuffix("_FILE") in told
    }  # fmt: skip
    assert paths == wanted
    assert not [one for one in pod["containers"][0].get("env", ()) if "valueFrom" in one]


def test_every_setting_is_one_and_every_value_of_it_can_be_read() -> None:
    names = {row.env for row in table()}
    assert {name.removesuffix("_FILE") for name in _settings()} <= names
    plain = {name: value for name, value in _settings().items() if not name.endswith("_FILE")}
    needed = {row.env: "x" for row in table() if row.required}
    for process in HERE:
        Settings.from_env({**plain, **needed}, process=process)


def test_only_the_syncer_has_a_token_of_the_cluster() -> None:
    accounts = {one["metadata"]["name"]: one for one in of("small") if one["kind"] == "ServiceAccount"}
    for name, pod in workloads(of("small")).items():
        may = accounts[pod["serviceAccountName"]].get("automountServiceAccountToken", True)
        assert may is (name == "syncer"), name
    bound = [one for one in of("small") if one["kind"] in ("ClusterRoleBinding", "RoleBinding")]
    assert {subject["name"] for one in bound for subject in one["subjects"]} == {"enclii-syncer"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_but_buildkits_is_locked_down(overlay: str) -> None:
    for name, pod in workloads(of(overlay)).items():
        for container in [*pod["containers"], *pod.get("initContainers", ())]:
            assert container["securityContext"]["readOnlyRootFilesystem"], name
            assert container["resources"]["limits"]["memory"], name
            if not name.startswith("buildkit-"):
                assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, name
        assert pod["securityContext"]["runAsNonRoot"], name
        assert not {"hostPath", "hostNetwork"} & {*pod, *(key for one in pod["volumes"] for key in one)}, name


def test_no_secret_is_in_what_is_rendered() -> None:
    assert not [one for one in of("ha") if one["kind"] == "Secret"]


def test_both_namespaces_deny_what_is_not_allowed_and_builds_reach_no_private_address() -> None:
    policies = {documents.identity(one)[1:]: one["spec"] for one in of("ha") if one["kind"] == "NetworkPolicy"}
    for namespace in ("enclii", "enclii-builds"):
        assert policies[namespace, "default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    (open_to,) = [to["ipBlock"] for one in policies["enclii-builds", "to-internet"]["egress"] for to in one["to"]
                  if "ipBlock" in to]  # fmt: skip
    assert {"10.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"} <= set(open_to["except"])


def test_another_namespace_is_another_installation_everywhere() -> None:
    moved = rendered("--overlay", "ha", "-n", "second")
    names = {one["metadata"]["name"] for one in moved if one["kind"] in ("ClusterRole", "ClusterRoleBinding")}
    assert names == {"second-syncer", "second-exec"}
    assert {one["metadata"].get("namespace") for one in moved} <= {None, "second", "second-builds"}
    assert not re.search(r"\.enclii(-builds)?\.svc|namespace: enclii", documents.write(moved))


def test_an_overlay_of_ones_own_is_built_too(tmp_path: Path) -> None:
    base = Path(__file__).parent.parent.parent / "manifests/platform/overlays/small"
    (tmp_path / "base").symlink_to(base)
    (tmp_path / "kustomization.yaml").write_text(
        "resources: [base]\nreplicas: [{name: receiver, count: 2}]\n".replace("base", str(_relative(base, tmp_path)))
    )
    found = rendered("--overlay", str(tmp_path))
    (receiver,) = [one for one in found if documents.identity(one) == ("Deployment", "enclii", "receiver")]
    assert receiver["spec"]["replicas"] == 2


def test_a_folder_without_a_kustomization_is_refused_in_words(tmp_path: Path) -> None:
    done = enclii("install", "--render", "--overlay", str(tmp_path), check=False)
    assert (done.returncode, "no_overlay" in done.stderr) == (2, True)


def _relative(path: Path, start: Path) -> Path:
    return Path(os.path.relpath(path, start))


def _settings() -> dict[str, str]:
    from console.installing.rendering import settings_of

    return settings_of(of("small"))
