"""Credentials that a kubeconfig leaves to a program: Kubernetes' exec plugins (client.authentication.k8s.io).

The program is run as any other, with a deadline and its own process group, and the kubeconfig goes on with its answer.
It sees nothing of Enclii's own settings: what it needs is in the environment that the syncer was started with.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline import process
from pipeline.errors import Unavailable

PLUGIN_LIMIT = 20.0
SAID = 300
CLUSTER = ("server", "certificate-authority-data", "tls-server-name", "insecure-skip-tls-verify", "proxy-url")


async def answered(
    config: Mapping[str, Any], context: str | None, *, folder: Path, environment: Mapping[str, str]
) -> dict[str, Any] | None:
    """The kubeconfig with what its plugin answered in the plugin's place; None where the context has no plugin.

    ``folder`` is the kubeconfig's own, which relative commands start at. Raises Unavailable when there is no answer.
    """
    chosen = _named(config, "contexts", context or config.get("current-context"))
    user = _named(config, "users", chosen.get("user"))
    told = user.get("exec")
    if not isinstance(told, dict):
        return None
    cluster = _named(config, "clusters", chosen.get("cluster"))
    answer = _credentials(told, await _run(told, cluster, folder=folder, environment=environment))
    users = [{"name": chosen.get("user"), "user": answer}]
    return {**config, "users": users, "current-context": context or config.get("current-context")}


def _named(config: Mapping[str, Any], kind: str, name: Any) -> dict[str, Any]:
    """A context, a user or a cluster by its name; empty when it is not there, which the client tells better."""
    found = [one.get(kind[:-1]) for one in config.get(kind) or () if isinstance(one, dict) and one.get("name") == name]
    return found[0] if found and isinstance(found[0], dict) else {}


async def _run(
    told: Mapping[str, Any], cluster: Mapping[str, Any], *, folder: Path, environment: Mapping[str, str]
) -> bytes:
    command = str(told.get("command") or "")
    program = str(folder / command) if "/" in command else command
    spec: dict[str, Any] = {"interactive": False}
    if told.get("provideClusterInfo"):
        spec["cluster"] = {key: cluster[key] for key in CLUSTER if key in cluster}
    info = {"apiVersion": told.get("apiVersion"), "kind": "ExecCredential", "spec": spec}
    more = {str(one.get("name")): str(one.get("value")) for one in told.get("env") or ()}
    env = {**environment, **more, "KUBERNETES_EXEC_INFO": json.dumps(info)}
    try:
        argv = (program, *map(str, told.get("args") or ()))
        return (await process.run(argv, timeout=PLUGIN_LIMIT, env=env)).stdout
    except process.CommandFailed as error:  # its words only: the arguments may be nobody's business
        said = error.stderr[-SAID:].decode("utf-8", "replace").strip()
        raise _without(told, f"ended with {error.returncode}: {said}") from error
    except process.CommandTimeout as error:
        raise _without(told, f"did not answer within {PLUGIN_LIMIT:g} s") from error


def _credentials(told: Mapping[str, Any], printed: bytes) -> dict[str, Any]:
    """What a user of a kubeconfig is, from an ExecCredential."""
    try:
        answer = json.loads(printed)
        status = answer["status"]
        if answer["apiVersion"] != told.get("apiVersion"):
            raise _without(told, f"answers in {str(answer['apiVersion'])[:SAID]}, not {told.get('apiVersion')}")
        pairs = {"token": status.get("token"), **_certificate(status)}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _without(told, "printed no ExecCredential with a status") from error
    user = {key: value for key, value in pairs.items() if value}
    if not user:
        raise _without(told, "gave neither a token nor a certificate")
    return user


def _certificate(status: Mapping[str, Any]) -> dict[str, str]:
    names = {"clientCertificateData": "client-certificate-data", "clientKeyData": "client-key-data"}
    if not all(status.get(name) for name in names):
        return {}
    return {there: base64.b64encode(str(status[name]).encode()).decode() for name, there in names.items()}


def _without(told: Mapping[str, Any], why: str) -> Unavailable:
    command = str(told.get("command") or "")
    hint = f" ({str(told['installHint'])[:SAID].strip()})" if told.get("installHint") else ""
    return Unavailable(
        f"the kubeconfig's plugin {command!r} gave no credentials: it {why}{hint}",
        reason="credentials_unreadable", delay=10.0,
    )  # fmt: skip
