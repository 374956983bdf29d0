"""``enclii install``: Enclii itself in a cluster, applied, or with --render only printed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from console.client import FAILED, REFUSED, TIMED_OUT, USAGE, Failure
from console.commands.options import tell
from console.installing.rendering import BUILDKIT
from console.session import Session

if TYPE_CHECKING:
    from console.installing.kubectl import Kubectl
    from console.installing.rendering import Plan


@click.command()
@click.option("--render", "only", is_flag=True, help="Print what is to be applied, and apply nothing.")
@click.option(
    "--overlay", default="small", show_default=True, help="small, ha, or a folder with a kustomization of yours."
)
@click.option("--image", default="", help="Enclii's image, best by digest.")
@click.option("--buildkit", default=BUILDKIT, show_default=True, help="Image of rootless BuildKit.")
@click.option("-n", "--namespace", default="enclii", show_default=True, help="Builds run in NAMESPACE-builds.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting for every process. Repeatable.")
@click.option("--context", default="", help="Context of the kubeconfig; else its current one.")
@click.option("--wait", default="10m", show_default=True, help="How long all may take to be ready; off: do not wait.")
@click.option("--beside", is_flag=True, help="Even though the cluster has another installation, in another namespace.")
@click.pass_obj
def install(
    session: Session, *, only: bool, overlay: str, image: str, buildkit: str, namespace: str,
    settings: tuple[str, ...], context: str, wait: str, beside: bool,
) -> None:  # fmt: skip
    """Install Enclii in a cluster, upgrade it, or go on with an install that was interrupted."""
    from console.installing.kubectl import Kubectl
    from console.installing.rendering import OVERLAYS, Plan
    from pipeline import names
    from pipeline.errors import EncliiError, Invalid, Refused

    told, limit = dict(_setting(one) for one in settings), _duration(wait)
    folder = overlay if overlay in OVERLAYS else str(session.cwd / overlay)
    try:
        plan = Plan(folder, names.name(namespace, what="namespace"), image, buildkit, told)
        kubectl = Kubectl(session.env, context)
        asyncio.run(_print(plan, kubectl) if only else _apply(plan, kubectl, limit, beside=beside))
    except Invalid as error:
        raise Failure(error.message, reason=error.reason, exit_code=USAGE) from error
    except EncliiError as error:
        code = REFUSED if isinstance(error, Refused) else TIMED_OUT if error.reason == "not_ready" else FAILED
        again = "mend that, and say the same again: it goes on from what is there"
        raise Failure(error.message, reason=error.reason, exit_code=code, advice=again) from error


def _setting(given: str) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    if not equals or not name.startswith("ENCLII_"):
        raise Failure(f"{name[:60]}: a setting is ENCLII_NAME=VALUE", reason="bad_setting", exit_code=USAGE)
    return name, value


def _duration(given: str) -> float:
    from pipeline import parsing

    try:
        return parsing.optional_duration(given)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--wait") from error


async def _print(plan: Plan, kubectl: Kubectl) -> None:
    from console.installing import documents
    from console.installing.rendering import render

    click.echo(documents.write(await render(plan, kubectl)), nl=False)


async def _apply(plan: Plan, kubectl: Kubectl, limit: float, *, beside: bool) -> None:
    from console.installing.applying import Way, install

    left_out = await install(plan, kubectl, Way(beside, limit), tell)
    if left_out:
        tell(f"left out, as the cluster does not know the kind: {', '.join(left_out)}")
    click.echo(f"Enclii is {'ready' if limit else 'applied'} in namespace {plan.namespace}")
