"""A world with a staging and a production environment, for the tests that promote from one into the other."""

from __future__ import annotations

from msgspec.structs import replace

from gitops.layout import Place
from pipeline.events import CheckReported, Event, FreezeRequested, PromotionRequested, PromotionReviewed, WaitEnded
from pipeline.promotions import Promotion
from pipeline.records import Decision, Deployment, Live, Observer
from pipeline.store import Change, Step, now
from tests.support.committer_world import World
from tests.support.config_git import git

STAGING = "staging"


def rules(production: str = "{promotion: {from: staging}}", *, roles: str = "{}") -> str:
    """``project.yaml`` whose staging is fed by main and whose production has these rules."""
    return f"""\
repositories:
  - {{id: "local:shop/shop", name: shop, forge: local, url: "http://git.example/shop/shop.git"}}
roles: {roles}
environments:
  staging: {{branch: main}}
  production: {production}
"""


async def ruled(world: World, production: str = "{promotion: {from: staging}}", *, roles: str = "{}") -> None:
    """Write the rules as a person does."""
    person = world.person()
    person.write("shop/project.yaml", rules(production, roles=roles))
    person.push()
    await world.moved()


async def staged(world: World, number: int, *services: str, healthy_since: str = "") -> None:
    """Releases that run in staging, and are healthy there."""
    for service in services or ("web",):
        await world.do(await world.release(number, service))
        await healthy(world, service, since=healthy_since)


async def healthy(world: World, service: str = "web", *, since: str = "", status: str = "running") -> None:
    """Say what the observer would say of staging."""
    here = Place("shop", STAGING, service)
    target = await world.target(here)
    live = Live(
        project="shop", environment=STAGING, service=service, deployment=target.deployment, release=target.release,
        image=target.image, status=status, health="healthy" if status == "running" else "unhealthy",  # type: ignore[arg-type]
        ready=1, desired=1, since=since or now(), healthy_since=(since or now()) if status == "running" else "",
    )  # fmt: skip
    watching = Observer(since=since or now(), at=now())
    await world.store.commit(Step((Change(live, None), Change(watching, None))))


def promote(*services: str, identity: str = "c-promote", actor: str = "ada", **given: object) -> PromotionRequested:
    fields = {"project": "shop", "environment": "production", "source": STAGING, "actor": actor, **given}
    return PromotionRequested(id=identity, services=services or ("web",), **fields)  # type: ignore[arg-type]


def approve(promotion: str, by: str, verdict: str = "approved") -> PromotionReviewed:
    return PromotionReviewed(id=f"c-{verdict}-{by}", promotion=promotion, actor=by, verdict=verdict)  # type: ignore[arg-type]


def check(number: int, state: str, name: str = "e2e") -> CheckReported:
    return CheckReported(
        id=f"c-{name}-{state}", project="shop", sha=f"{number:040x}", name=name, state=state, actor="ci"  # type: ignore[arg-type]
    )  # fmt: skip


def freeze(*, frozen: bool = True, why: str = "holidays") -> FreezeRequested:
    return FreezeRequested(id=f"c-freeze-{frozen}", frozen=frozen, actor="ops", why=why)


async def promotions(world: World) -> list[Promotion]:
    """Every promotion, oldest first."""
    return sorted(await world.store.all(Promotion), key=lambda one: one.created_at)


async def only(world: World) -> Promotion:
    (found,) = await promotions(world)
    return found


async def woken(world: World, one: Promotion, occasion: str = "now") -> None:
    """Let it be decided again, as the clock or an event would."""
    await world.do(WaitEnded(id=f"{one.id}/{occasion}", promotion=one.id))


async def released(world: World, place: Place) -> str:
    """The release that git says there."""
    return (await world.target(place)).release


async def observed(world: World, place: Place, status: str, **changes: object) -> Deployment:
    """Give the wanted deployment of a place a status."""
    stored = await world.store.get(Deployment, (await world.target(place)).deployment)
    assert stored is not None
    record = replace(stored.record, status=status, **changes)  # type: ignore[arg-type]
    await world.store.commit(Step((Change(record, stored.seq),)))
    return record


def branches(world: World) -> list[str]:
    """The config repository's branches."""
    return git("branch", "--format=%(refname:short)", cwd=world.remote).split()


async def decided(world: World, event: Event) -> Decision:
    await world.do(event)
    return await world.decision(event.id)
