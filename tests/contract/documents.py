"""Wanted documents with something else in them."""

from __future__ import annotations

from dataclasses import replace

from gitops.clusters import Wanted


def replace_count(wanted: Wanted, replicas: int) -> Wanted:
    (document,) = wanted.documents
    return replace(wanted, documents=({**document, "spec": {**document["spec"], "replicas": replicas}},))


def with_image(wanted: Wanted, image: str) -> Wanted:
    (document,) = wanted.documents
    pod = document["spec"]["template"]["spec"]
    containers = [{**pod["containers"][0], "image": image}]
    spec = {**document["spec"], "template": {"spec": {**pod, "containers": containers}}}
    return replace(wanted, image=image, documents=({**document, "spec": spec},))


def with_volumes(wanted: Wanted) -> Wanted:
    """The same with an empty directory and the files of a ConfigMap."""
    (document,) = wanted.documents
    (container,) = document["spec"]["template"]["spec"]["containers"]
    mounts = [{"name": "tmp", "mountPath": "/tmp"}, {"name": "etc", "mountPath": "/etc/web"}]  # noqa: S108
    pod = {
        **document["spec"]["template"]["spec"],
        "containers": [{**container, "volumeMounts": mounts}],
        "volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "etc", "configMap": {"name": "settings"}}],
    }
    config = {"kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"level": "info"}}
    spec = {**document["spec"], "template": {"spec": pod}}
    return replace(wanted, documents=({**document, "spec": spec}, config))
