"""What a preview has otherwise than an environment: secrets, walls, a share, and one name of its own."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import msgspec
import pytest
from ruamel.yaml import YAML

from gitops.clusters import ServiceRef, Wanted, kube_plan, podman_commands
from gitops.clusters.subset import translate
from gitops.committing import intents
from gitops.committing.idle import awake
from gitops.committing.intents import Cause, Situation
from gitops.committing.previewing import still
from gitops.layout import Place
from gitops.notes import Notes
from gitops.notes import Scale as Scaled
from gitops.projectfile import parse
from gitops.render import render
from gitops.rendering.surroundings import Shared, Surroundings
from gitops.syncing.front import host_of
from pipeline.domains import Domains, Entrance
from pipeline.errors import Invalid, Refused
from pipeline.previews import Preview, PreviewRef, PreviewState
from pipeline.servicefile import ExternalVolume, Overrides, Scale, ServiceSpec
from pipeline.stages.preview import changed
from tests.support.rendered import release

HERE = Place("shop", "preview-12", "web")
REF = PreviewRef(environment="preview-12", number=12, label="pr-12", domain="preview.example.org")
SPEC = ServiceSpec(
    name="web", port=8080, replicas=3, secrets=("TOKEN", "STRIPE"), existing_secrets={"DB": "prod/url"},
    volumes={"data": ExternalVolume(claim="prod-data", path="/data")},
    environments={"preview": Overrides(env={"A": "p"})},
)  # fmt: skip
ENV = b"environments: {staging: {branch: next}}\n"
AROUND = Surroundings(secrets={"TOKEN": 2})


def rendered(spec: ServiceSpec = SPEC, ref: PreviewRef = REF, around: Surroundings = AROUND) -> dict[str, Any]:
    made = msgspec.structs.replace(release(spec), preview=ref)
    read = YAML(typ="safe", pure=True)
    return {name: read.load(io.BytesIO(data)) for name, data in render(made, HERE, around).items()}


def container(files: dict[str, Any]) -> Any:
    return files["deployment.yaml"]["spec"]["template"]["spec"]["containers"][0]


def test_rule_12_a_preview_gets_what_was_set_for_previews_and_a_fork_gets_nothing() -> None:
    own, forks = container(rendered()), container(rendered(ref=msgspec.structs.replace(REF, fork=True)))

    assert [one["name"] for one in own["env"]] == ["A", "TOKEN"]
    assert [one["name"] for one in forks["env"]] == ["A"]
    assert "volumeMounts" not in own


def test_rule_13_a_preview_is_behind_a_wall_and_has_a_share() -> None:
    files = rendered(msgspec.structs.replace(SPEC, replicas=1, scale=None))
    egress = files["networkpolicy.yaml"]["spec"]["egress"]

    assert [one.get("to") for one in egress] == [None, [{"podSelector": {}}]]
    assert files["networkpolicy.yaml"]["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert files["networkpolicy-deny.yaml"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert files["resourcequota.yaml"]["spec"]["hard"]["services.loadbalancers"] == "0"
    assert files["limitrange.yaml"]["kind"] == "LimitRange"
    assert container(files)["resources"]["limits"]["memory"] == "256Mi"
    assert files["deployment.yaml"]["spec"]["replicas"] == 1


def test_what_is_shared_is_reached_by_one_port_and_a_variable_and_not_by_a_fork() -> None:
    base = Shared("shop", "staging", "full-search", "shop-staging", 9200)
    around = dataclasses.replace(AROUND, shared=(base,))
    files, forks = rendered(around=around), rendered(ref=msgspec.structs.replace(REF, fork=True), around=around)
    url = {"name": "FULL_SEARCH_URL", "value": "http://full-search.shop-staging.svc.cluster.local:9200"}
    way = files["networkpolicy.yaml"]["spec"]["egress"][2]

    assert url in container(files)["env"]
    assert way["ports"] == [{"protocol": "TCP", "port": 9200}]
    assert way["to"][0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "shop-staging"}
    assert url not in container(forks)["env"]
    assert len(forks["networkpolicy.yaml"]["spec"]["egress"]) == 2
    with pytest.raises(Invalid) as refused:
        translate(Wanted(ServiceRef(*HERE), "d", "v1", "i", tuple(files.values())))
    assert refused.value.reason == "sharing_needs_kubernetes"


def test_one_replica_whatever_scales_elsewhere() -> None:
    files = rendered(msgspec.structs.replace(SPEC, scale=Scale(min=2, max=9)))

    assert "autoscaler.yaml" not in files
    assert files["deployment.yaml"]["spec"]["replicas"] == 1


def test_rule_14_the_address_is_under_the_previews_own_domain() -> None:
    ingress = rendered()["ingress.yaml"]
    assert [rule["host"] for rule in ingress["spec"]["rules"]] == ["pr-12-web.preview.example.org"]

    wanted = Wanted(ServiceRef(*HERE), "d", "v1", "i", (ingress,))
    assert host_of(wanted) == "pr-12-web.preview.example.org"


def test_rule_14_behind_a_gateway_its_address_is_that_of_its_route() -> None:
    gateway = Domains(entrance=Entrance(kind="gateway", name="public"))
    files = rendered(around=dataclasses.replace(AROUND, domains=gateway))
    wanted = Wanted(ServiceRef(*HERE), "d", "v1", "i", tuple(files.values()))

    assert files["httproute.yaml"]["spec"]["hostnames"] == ["pr-12-web.preview.example.org"]
    assert kube_plan.address(wanted) == "https://pr-12-web.preview.example.org"


@pytest.mark.parametrize(("environment", "ref"), [("production", REF), ("preview-12", None), ("preview-13", REF)])
def test_rule_13_a_previews_release_goes_nowhere_else_and_no_other_goes_there(
    environment: str, ref: PreviewRef | None
) -> None:
    made = msgspec.structs.replace(release(SPEC), preview=ref)
    there = Situation(Place("shop", environment, "web"), around=AROUND)
    with pytest.raises(Refused) as refused:
        intents.deploy(there, made, cause=Cause("i", "push", "ada", "2026-01-01T00:00:00Z"), clearance=None)

    assert refused.value.reason == "preview_release"


def test_previews_share_their_secrets_and_nothing_else_on_this_machine() -> None:
    one, other, production = (ServiceRef("shop", name, "web") for name in ("preview-1", "preview-2", "production"))
    prefix, network = podman_commands.secret_prefix, podman_commands.network_name

    assert prefix("i", one) == prefix("i", other) == prefix("i", ServiceRef("shop", "preview", "web"))
    assert prefix("i", one) != prefix("i", production)
    assert network("i", one) != network("i", other)
    assert "--internal" in podman_commands.network_create("i", one)
    assert "--internal" not in podman_commands.network_create("i", production)


def test_a_new_head_wakes_what_sleeps_and_keeps_a_count_that_somebody_asked_for() -> None:
    made = msgspec.structs.replace(release(SPEC), preview=REF)
    for why, gone in (("idle", True), ("by hand", False)):
        notes = Notes(scale=Scaled(0, "enclii", "2026-01-01T00:00:00Z", why))
        there = Situation(HERE, names=frozenset({"scale.yaml"}), around=notes.around(AROUND), notes=notes)
        cause = Cause("i", "push", "ada", "2026-01-01T00:00:00Z")
        edit = intents.deploy(awake(there), made, cause=cause, clearance=None).edit

        assert ("scale.yaml" in edit.remove) is gone
        assert (b"replicas: 0" in edit.write["deployment.yaml"]) is not gone


def test_project_yaml_rules_previews_and_keeps_their_names_free() -> None:
    text = b"previews: {automatic: true, cap: 3, idle: 48h, domain: p.example.org, ingress: {class: nginx}}\n"
    rules = parse(text, project="shop").previews

    base = parse(ENV + b"previews: {base: {environment: staging, shared: [search], copied: [auth]}}", project="shop")
    assert (base.previews.base.shared, base.previews.base.copied) == (("search",), ("auth",))
    assert (rules.automatic, rules.cap, rules.idle, rules.entrance.name) == (True, 3, 172_800, "nginx")
    for wrong in (b"previews: {cap: -1}", b"previews: {idle: soon}", b"previews: {domain: NO}", b"previews: {x: 1}",
                  b"previews: {base: {environment: staging, shared: [x]}}", b"previews: {base: {shared: [x]}}",
                  ENV + b"previews: {base: {environment: staging, shared: [x], copied: [x]}}",
                  ENV + b"previews: {cluster: east, base: {environment: staging, shared: [x]}}",
                  b"environments: {preview-1: {branch: x}}", b"environments: {preview: {branch: x}}"):  # fmt: skip
        with pytest.raises(Invalid):
            parse(wrong, project="shop")


@pytest.mark.parametrize(
    ("state", "asleep", "woken"),
    [("asleep", True, False), ("building", False, True), ("ready", False, True), ("waiting", False, True),
     ("removing", False, False), ("removed", False, False)],
)  # fmt: skip
def test_a_word_about_its_sleep_that_comes_late_changes_nothing(state: PreviewState, asleep: bool, woken: bool) -> None:
    """One that the gate made wait comes again after the next: a preview put to sleep then would never wake."""
    one = Preview(id="shop.preview-12", project="shop", repository="github:1", number=12, state=state)

    assert still(changed(one, "asleep"), one) == asleep
    assert still(changed(one, "woken"), one) == woken
    assert not still(changed(one, "asleep"), None)
