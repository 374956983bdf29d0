"""What podman can honour is translated, and everything else is refused by its name and path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gitops.clusters import ServiceRef, Wanted
from gitops.clusters.subset import manifests, translate
from pipeline.errors import Invalid

IMAGE = "registry.example:5000/shop/web@sha256:" + "a" * 64


def deployment(**container: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {
                    "containers": [
                        {
                            "name": "web",
                            "image": IMAGE,
                            "ports": [{"name": "http", "containerPort": 8080}],
                            "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}},
                            **container,
                        }
                    ]
                },
            },
        },
    }


def wanted(*documents: dict[str, Any], **changes: Any) -> Wanted:
    ref = ServiceRef("shop", "production", "web")
    return Wanted(ref, deployment="d1", release="v1", image=IMAGE, documents=documents, **changes)


def config(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": data}


def service(port: int) -> dict[str, Any]:
    ports = [{"port": port, "targetPort": "http"}]
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"ports": ports}}


def pod_of(asked: Wanted, *, limits: bool = True) -> dict[str, Any]:
    documents = manifests(translate(asked), name="pod-0", labels={"l": "1"}, host_ports={8080: 40001}, limits=limits)
    return dict(documents[-1])


def refusal(asked: Wanted) -> str:
    with pytest.raises(Invalid) as caught:
        translate(asked)
    return caught.value.message


def test_health_port_and_replicas_come_from_the_deployment() -> None:
    workload = translate(wanted(deployment(), service(8080)))

    assert (workload.health, workload.port, workload.replicas) == ("/healthz", 8080, 2)


def test_a_worker_has_neither_port_nor_health() -> None:
    workload = translate(wanted(deployment(ports=[], readinessProbe=None)))

    assert (workload.health, workload.port) == (None, None)


def test_ports_are_published_on_the_loopback_address_only() -> None:
    container = pod_of(wanted(deployment()))["spec"]["containers"][0]

    assert container["ports"] == [{"containerPort": 8080, "hostIP": "127.0.0.1", "hostPort": 40001}]


def test_probes_never_reach_podman() -> None:
    probe = {"httpGet": {"path": "/", "port": 8080}}

    container = pod_of(wanted(deployment(livenessProbe=probe, startupProbe=probe)))["spec"]["containers"][0]

    assert not [key for key in container if key.endswith("Probe")]


@pytest.mark.parametrize("limits", [True, False])
def test_resources_are_left_out_where_podman_cannot_limit(limits: bool) -> None:
    pod = pod_of(wanted(deployment(resources={"limits": {"memory": "64Mi"}})), limits=limits)

    assert ("resources" in pod["spec"]["containers"][0]) is limits


def test_the_committed_image_is_run_whatever_the_document_says() -> None:
    container = pod_of(wanted(deployment(image="elsewhere/web:latest")))["spec"]["containers"][0]

    assert (container["image"], container["imagePullPolicy"]) == (IMAGE, "Never")


def test_environment_is_resolved_from_config_maps() -> None:
    env = [
        {"name": "PLAIN", "value": "1"},
        {"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "level"}}},
    ]
    sources = [{"prefix": "C_", "configMapRef": {"name": "settings"}}]
    asked = wanted(deployment(env=env, envFrom=sources), config(level="info"))

    assert dict(translate(asked).env) == {"C_level": "info", "PLAIN": "1", "LEVEL": "info"}


def test_a_secret_stays_a_reference_to_this_environments_part_of_the_store() -> None:
    env = [{"name": "URL", "valueFrom": {"secretKeyRef": {"name": "web-secrets-v3", "key": "URL"}}}]
    asked = translate(wanted(deployment(env=env)))
    *_, pod = manifests(asked, name="p", labels={}, host_ports={}, limits=True, secret_prefix="enclii-x-")

    source = {"name": "enclii-x-web-secrets-v3", "key": "URL"}
    assert pod["spec"]["containers"][0]["env"] == [{"name": "URL", "valueFrom": {"secretKeyRef": source}}]


def test_a_later_value_replaces_an_earlier_one_of_the_same_name() -> None:
    asked = wanted(
        deployment(env=[{"name": "A", "value": "2"}], envFrom=[{"configMapRef": {"name": "settings"}}]), config(A="1")
    )

    assert dict(translate(asked).env) == {"A": "2"}


def test_volumes_and_their_config_maps_are_named_after_the_pod() -> None:
    document = deployment(volumeMounts=[{"name": "etc", "mountPath": "/etc/web"}])
    document["spec"]["template"]["spec"]["volumes"] = [{"name": "etc", "configMap": {"name": "settings"}}]
    workload = translate(wanted(document, config(level="info")))

    made, pod = manifests(workload, name="pod-0", labels={}, host_ports={}, limits=True)

    assert (made["metadata"]["name"], made["data"]) == ("pod-0-etc", {"level": "info"})
    assert pod["spec"]["volumes"] == [{"name": "pod-0-etc", "configMap": {"name": "pod-0-etc"}}]
    assert pod["spec"]["containers"][0]["volumeMounts"] == [{"name": "pod-0-etc", "mountPath": "/etc/web"}]


def _with_pod(key: str, value: Any) -> Callable[[], Wanted]:
    def build() -> Wanted:
        document = deployment()
        document["spec"]["template"]["spec"][key] = value
        return wanted(document)

    return build


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            _with_pod("volumes", [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]),
            "Deployment web: spec.template.spec.volumes[0].persistentVolumeClaim is not supported on podman",
        ),
        (
            _with_pod("initContainers", []),
            "Deployment web: spec.template.spec.initContainers is not supported on podman",
        ),
        (
            _with_pod("hostNetwork", True),
            "Deployment web: spec.template.spec.hostNetwork is not supported on podman",
        ),
        (
            lambda: wanted(deployment(lifecycle={"preStop": {"exec": {"command": ["x"]}}})),
            "Deployment web: spec.template.spec.containers[0].lifecycle.preStop.exec is not supported on podman",
        ),
        (
            lambda: wanted(deployment(readinessProbe={"exec": {"command": ["true"]}})),
            "Deployment web: spec.template.spec.containers[0].readinessProbe.exec is not supported on podman",
        ),
        (
            lambda: wanted(deployment(), {"kind": "CronJob", "metadata": {"name": "web"}}),
            "CronJob web: kind CronJob is not supported on podman",
        ),
        (
            lambda: wanted(deployment(), service(80)),
            "Service web: spec.ports[0].port must be the container's own port on podman",
        ),
    ],
)
def test_what_podman_cannot_honour_is_refused_by_name(build: Callable[[], Wanted], message: str) -> None:
    assert refusal(build()) == message


@pytest.mark.parametrize("count", [0, 2])
def test_exactly_one_deployment_is_needed(count: int) -> None:
    assert f"not {count} times" in refusal(wanted(*[deployment()] * count))


@pytest.mark.parametrize("replicas", [-1, "2", True])
def test_replicas_must_be_a_whole_number(replicas: Any) -> None:
    document = deployment()
    document["spec"]["replicas"] = replicas

    assert "spec.replicas must be a whole number" in refusal(wanted(document))


def job(**pod: Any) -> dict[str, Any]:
    container = {"name": "web", "image": IMAGE, "command": ["migrate"]}
    template = {"spec": {"restartPolicy": "Never", "containers": [container], **pod}}
    spec = {"backoffLimit": 0, "activeDeadlineSeconds": 90, "template": template}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "web-release-1"}, "spec": spec}


def test_a_release_job_is_translated_beside_the_deployment() -> None:
    found = translate(wanted(deployment(), job())).job

    assert found is not None
    assert (found.name, found.timeout, found.pod.settings["command"]) == ("web-release-1", 90, ["migrate"])


def test_a_job_that_is_to_be_restarted_is_refused() -> None:
    refused = refusal(wanted(deployment(), job(restartPolicy="OnFailure")))

    assert refused == "Job web-release-1: spec.template.spec.restartPolicy is not supported on podman"


def test_an_autoscaler_counts_with_its_least() -> None:
    document = deployment()
    del document["spec"]["replicas"]
    scaler = {"kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"}, "spec": {"minReplicas": 3}}

    assert translate(wanted(document, scaler)).replicas == 3


def test_a_user_that_is_only_the_default_leaves_the_image_its_own() -> None:
    document = deployment(securityContext={"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}})
    template = document["spec"]["template"]
    template["metadata"]["annotations"] = {"enclii.dev/default-user": "65532"}
    template["spec"]["securityContext"] = {"runAsUser": 65532, "runAsNonRoot": True}

    workload = translate(wanted(document))

    assert workload.pod == {"securityContext": {}}
    assert workload.settings == {"securityContext": {"allowPrivilegeEscalation": False}}
