"""``enclii doctor``: this machine and the stores, checked from here, and whatever the API adds."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import click

from console import views
from console.client import FAILED, START, Failure
from console.commands.options import formatted, show
from console.session import Session


@click.command()
@click.option("--cluster", is_flag=True, help="Check the installation in a cluster instead, by kubectl.")
@click.option("-n", "--namespace", default="enclii", show_default=True, help="With --cluster: where it is.")
@click.option("--context", default="", help="With --cluster: of the kubeconfig; else its current one.")
@formatted
@click.pass_obj
def doctor(session: Session, *, cluster: bool, namespace: str, context: str, output: str) -> int:
    """Check this installation; exit code 1 when something must be mended."""
    checks = _in_cluster(session, namespace, context) if cluster else _checks(session)
    show({"checks": checks}, output, views.checks, rows="checks")
    return FAILED if any(check["level"] == "error" for check in checks) else 0


def _in_cluster(session: Session, namespace: str, context: str) -> list[dict[str, Any]]:
    from console.installing.inspection import inspect
    from console.installing.kubectl import Kubectl
    from pipeline.errors import EncliiError

    try:
        found = asyncio.run(inspect(Kubectl(session.env, context), namespace))
    except EncliiError as error:
        advice = "kubectl version tells whether the cluster answers you"
        raise Failure(error.message, reason=error.reason, advice=advice) from error
    return [dataclasses.asdict(one) for one in found]


def _checks(session: Session) -> list[dict[str, Any]]:
    """Where the state folder is, the machine is looked at too, and the stores even when the API is away."""
    here = session.home if not session.env.get("ENCLII_SERVER") and (session.home / "instance").is_file() else None
    try:
        answered: list[dict[str, Any]] = session.api.get("/v1/doctor")["checks"]
        found = [_plain("ok", "API", f"{session.api.server} answers"), *answered]
    except Failure as failure:
        if here is None:
            raise
        found = _without_api(here, failure)
    return [*found, *(_machine(here, session) if here else ())]


def _without_api(home: Path, failure: Failure) -> list[dict[str, Any]]:
    """Where nothing runs, that is the one thing to say: what each store then lacks would mislead."""
    from console.doctor import nothing_runs

    if nothing_runs(home):
        return [_plain("error", "API", f"nothing of Enclii runs here: {failure.message}", START)]
    return [_plain("error", "API", failure.message, failure.advice), *_stores(home)]


def _plain(level: str, subject: str, message: str, fix: str = "") -> dict[str, Any]:
    return {"level": level, "subject": subject, "message": message, "fix": fix}


def _machine(home: Path, session: Session) -> list[dict[str, Any]]:
    from console.doctor import machine

    return [dataclasses.asdict(one) for one in asyncio.run(machine(home, search=session.env.get("PATH", "")))]


def _stores(home: Path) -> list[dict[str, Any]]:
    from console.checks import stores
    from console.installation import addresses
    from pipeline.errors import EncliiError
    from pipeline.registry import Registry

    try:
        at = addresses(home)
    except EncliiError as error:
        return [_plain("error", "state folder", error.message, START)]
    found = stores(
        monitors=at.nats_monitor, durable="fsync", registry=Registry(at.registry, plain_http=True), githost=at.githost
    )  # fmt: skip
    return [dataclasses.asdict(one) for one in asyncio.run(found)]
