"""What Argo CD's and Flux's objects say about a config commit; the objects are as they were seen or are published."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from gitops.clusters import Health, argocd_state, flux_state
from gitops.clusters.argocd_state import Application
from gitops.clusters.flux_state import GitRepository, Kustomization
from gitops.clusters.sync_state import Sync

OURS, LATER, OLD = "a" * 40, "b" * 40, "c" * 40
IMMUTABLE = 'Deployment.apps "web" is invalid: spec.selector: field is immutable'


def argo(
    sync: str = "OutOfSync", revision: str = OURS, *, phase: str = "", of: str = OURS, conditions: Any = (),
    resources: Any = (), automated: Any = {"prune": True}, message: str = "",  # noqa: B006 - never changed
) -> Sync:  # fmt: skip
    operation = {"phase": phase, "message": message, "syncResult": {"revision": of, "resources": list(resources)}}
    found = {
        "metadata": {"name": "shop.production.web", "namespace": "argocd"},
        "spec": {"syncPolicy": {"automated": automated} if automated else {}},
        "status": {
            "sync": {"status": sync, "revision": revision},
            "conditions": [{"type": kind, "message": text} for kind, text in conditions],
            **({"operationState": operation} if phase else {}),
        },
    }
    app = msgspec.json.decode(json.dumps(found), type=Application)
    return argocd_state.sync_of(app, {OURS, LATER}.__contains__)


def test_a_sync_of_our_commit_or_a_later_one_is_done() -> None:
    assert argo("Synced", LATER, phase="Succeeded", of=LATER).progress == "synced"
    assert argo("OutOfSync", OURS, phase="Succeeded", of=OURS).progress == "synced"


def test_a_commit_that_changed_nothing_needs_no_operation() -> None:
    assert argo("Synced", OURS, phase="Succeeded", of=OLD).progress == "synced"


def test_an_older_commit_s_sync_is_not_ours() -> None:
    assert argo("Synced", OLD, phase="Succeeded", of=OLD).progress == "waiting"


def test_a_refused_object_is_told_in_the_api_server_s_words_while_argo_cd_tries_again() -> None:
    refused = {"kind": "Deployment", "name": "web", "status": "SyncFailed", "message": IMMUTABLE}
    found = argo(phase="Running", resources=[refused], message="Retrying attempt #1")

    assert (found.progress, found.detail) == ("failing", f"Deployment web: {IMMUTABLE}")


def test_a_failed_sync_of_ours_has_failed() -> None:
    found = argo(phase="Failed", message="one or more objects failed to apply")

    assert (found.progress, found.reason) == ("failed", "sync_failed")
    assert "one or more objects failed" in found.detail


def test_a_failed_sync_of_an_older_commit_is_none_of_ours() -> None:
    assert argo("OutOfSync", OLD, phase="Failed", of=OLD).progress == "waiting"


@pytest.mark.parametrize("revision", [OURS, ""])
def test_what_argo_cd_cannot_compare_is_told_verbatim(revision: str) -> None:
    found = argo("Unknown", revision, conditions=[("ComparisonError", "app path does not exist")])

    assert (found.progress, found.detail) == ("failing", "Argo CD: app path does not exist")


def test_an_error_about_an_older_commit_is_not_held_against_ours() -> None:
    assert argo("Unknown", OLD, conditions=[("ComparisonError", "bad")]).progress == "waiting"


def test_a_warning_is_no_error() -> None:
    assert argo("OutOfSync", conditions=[("OrphanedResourceWarning", "x")]).progress == "waiting"


def test_an_application_that_a_person_syncs_says_so() -> None:
    found = argo(automated=None)

    assert (found.reason, "argocd app sync shop.production.web" in found.detail) == ("sync_is_manual", True)


def test_no_application_is_something_to_wait_for() -> None:
    assert argocd_state.sync_of(None, {OURS}.__contains__).reason == "no_unit"


def flux(
    ready: tuple[str, str, str] | None, *, applied: str = "", attempted: str = "", stalled: bool = False,
    source: tuple[str, str, str] | None = None,
) -> Sync:  # fmt: skip
    conditions = [dict(zip(("type", "status", "reason", "message"), ("Ready", *ready), strict=True))] if ready else []
    conditions += [{"type": "Stalled", "status": "True", "reason": "x", "message": "y"}] if stalled else []
    status = {"conditions": conditions, "lastAppliedRevision": applied, "lastAttemptedRevision": attempted}
    unit = msgspec.json.decode(json.dumps({"metadata": {"name": "x"}, "status": status}), type=Kustomization)
    fetched = [dict(zip(("type", "status", "reason", "message"), ("Ready", *source), strict=True))] if source else []
    repository = msgspec.json.decode(json.dumps({"status": {"conditions": fetched}}), type=GitRepository)
    return flux_state.sync_of(unit, repository, {OURS, LATER}.__contains__)


def test_flux_has_applied_our_commit_or_a_later_one() -> None:
    done = ("True", "ReconciliationSucceeded", "Applied revision")
    assert flux(done, applied=f"main@sha1:{OURS}", attempted=f"main@sha1:{OURS}").progress == "synced"
    assert flux(done, applied=f"main@sha1:{LATER}").progress == "synced"


def test_flux_has_not_seen_our_commit() -> None:
    assert flux(("True", "ReconciliationSucceeded", ""), applied=f"main@sha1:{OLD}").progress == "waiting"


def test_flux_s_own_words_say_what_stands_in_the_way() -> None:
    found = flux(
        ("False", "ReconciliationFailed", IMMUTABLE), applied=f"main@sha1:{OLD}", attempted=f"main@sha1:{OURS}"
    )

    assert (found.progress, found.detail) == ("failing", f"Flux: ReconciliationFailed: {IMMUTABLE}")


def test_a_stalled_kustomization_is_not_tried_again() -> None:
    assert flux(("False", "BuildFailed", "x"), attempted=f"main@sha1:{OURS}", stalled=True).progress == "failed"


def test_a_repository_that_flux_cannot_fetch_is_told() -> None:
    found = flux(None, source=("False", "GitOperationFailed", "authentication required"))

    assert (found.progress, found.detail) == ("failing", "Flux: GitOperationFailed: authentication required")


def test_what_is_not_synced_is_not_live_whatever_runs() -> None:
    assert Sync("waiting", "syncing", "soon").health(Health("healthy")).status == "unknown"
    assert Sync("failing", "sync_failed", "no").health(Health("healthy")).status == "unhealthy"
    assert Sync("synced").health(Health("healthy")).status == "healthy"
