"""``enclii secret … --build``: values that reach builds by ``RUN --mount=type=secret``, sealed to the builder's key."""

from __future__ import annotations

import base64
from typing import Any

from console.client import path
from console.session import Scope, Session
from console.views import table, when


def keep(session: Session, place: Scope, name: str, value: bytes) -> dict[str, Any]:
    """Seal the value here and hand it on; doing it twice changes nothing."""
    from pipeline.build_secrets import context
    from pipeline.sealing import seal

    public = base64.b64decode(session.api.get("/v1/build-secrets/key")["key"])
    sealed = seal(value, to=public, context=context(place.project, place.service, name))
    body = {**_where(place, name), "sealed": base64.b64encode(sealed).decode()}
    answer: dict[str, Any] = session.api.post("/v1/build-secrets", body)
    return answer


def forget(session: Session, place: Scope, name: str) -> dict[str, Any]:
    """Builds that ask for it fail from now on."""
    answer: dict[str, Any] = session.api.post("/v1/build-secrets/unset", _where(place, name))
    return answer


def listed(session: Session, place: Scope) -> dict[str, Any]:
    """Names, and when each was set."""
    answer: dict[str, Any] = session.api.get(path("services", place.service_id, "build-secrets"))
    return answer


def lines(session: Session, answer: dict[str, Any]) -> str:
    """One line each."""
    now, relative = session.now(), session.terminal
    return table(("NAME", "SET"), [[one["name"], when(one["at"], now, relative=relative)] for one in answer["secrets"]])


def _where(place: Scope, name: str) -> dict[str, str]:
    return {"project": place.project, "service": place.service, "name": name}
