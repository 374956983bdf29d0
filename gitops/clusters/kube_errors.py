"""What an answer of the API server means: one error of ours for each refusal, in the server's own words; pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from pipeline.errors import Conflict, EncliiError, Invalid, NotFound, Permanent, Refused, Unavailable

MANAGER = re.compile(r'conflict with "([^"]+)"')
ADMISSION = re.compile(r"admission webhook .* denied|denied the request|ValidatingAdmissionPolicy .* denied request")
# The API server calls what it cannot read an error of its own (500); only its words tell a document that will never do.
UNREADABLE = re.compile(r"failed to (?:create typed patch|convert new) object|field not declared in schema")
WAY_OUT_IMMUTABLE = (
    "the cluster does not let this field change: give the object another name, or delete the object"
    " once (kubectl delete) and it is made anew from git"
)


class Gone(Unavailable):
    """The version that a watch wanted to go on from is forgotten: list again."""


@dataclass(frozen=True)
class Claim:
    """One field that somebody else owns; ``field`` as the API server writes it (``.spec.replicas``)."""

    manager: str
    field: str


class FieldConflict(Refused):
    """Server-side apply met fields that other managers own."""

    def __init__(self, what: str, claims: tuple[Claim, ...]) -> None:
        told = "; ".join(f"{claim.field} belongs to {claim.manager}" for claim in claims)
        super().__init__(
            f"{what}: {told}. Set `drift: heal` for the environment to take the fields back, or put the other"
            " manager's value into git",
            reason="field_conflict",
        )
        self.claims = claims


def away(doing: str, error: BaseException | str) -> Unavailable:
    """The API server did not answer; ``error`` is told by its kind, since its text may hold a header."""
    why = error if isinstance(error, str) else type(error).__name__
    return Unavailable(f"the cluster does not answer ({doing}): {why}", reason="cluster_away", delay=2.0)


def refusal(status: int, body: bytes, doing: str) -> EncliiError:
    """The error for an answer that is no success."""
    said = _status(body)
    message = str(said.get("message") or body[:500].decode("utf-8", "replace") or f"HTTP {status}")
    if status == 401:
        return Unavailable(
            f"the cluster does not accept the credentials ({doing}): renew them in the kubeconfig",
            reason="credentials_expired", delay=10.0,
        )  # fmt: skip
    if status == 410 or said.get("reason") == "Expired":
        return Gone(message, reason="version_gone", delay=0.0)
    if status == 500 and UNREADABLE.search(message):
        return Invalid(f"{doing}: {message}", reason="refused_by_cluster")
    if status in (408, 429) or (status >= 500 and "admission webhook" not in message):
        return Unavailable(f"the cluster is not able to ({doing}): {message}", reason="cluster_away", delay=2.0)
    if status == 404:
        return NotFound(f"{doing}: {message}", reason="not_in_cluster")
    if status == 409:
        return _conflict(said, message, doing)
    if status == 403:
        return _forbidden(said, message, doing)
    if ADMISSION.search(message):  # before all else: what a policy says may sound like the API server's own words
        return Refused(message, reason="admission_refused")
    if "immutable" in message:
        return Invalid(f"{message}: {WAY_OUT_IMMUTABLE}", reason="immutable_field")
    return Invalid(message, reason="refused_by_cluster")


def _status(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _causes(said: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in (said.get("details") or {}).get("causes") or () if isinstance(one, dict)]


def _conflict(said: dict[str, Any], message: str, doing: str) -> EncliiError:
    claims = []
    for cause in _causes(said):
        if cause.get("reason") == "FieldManagerConflict":
            manager = MANAGER.search(str(cause.get("message", "")))
            claims.append(Claim(manager[1] if manager else "somebody else", str(cause.get("field", ""))))
    if claims:
        return FieldConflict(doing, tuple(claims))
    return Conflict(f"{doing}: {message}", reason="cluster_moved", delay=0.2)


def _forbidden(said: dict[str, Any], message: str, doing: str) -> EncliiError:
    if any(cause.get("reason") == "NamespaceTerminating" for cause in _causes(said)):
        return Unavailable(message, reason="namespace_terminating", delay=5.0)
    if "exceeded quota" in message:
        return Permanent(message, reason="quota")
    if ' is forbidden: User "' in message:
        return Refused(f"{message} (manifests/rbac shows the rights that are needed)", reason="not_allowed")
    return Refused(message, reason="admission_refused")
