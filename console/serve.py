"""The console's process: the API and the pages over its projection, with the cluster's logs behind it."""

from __future__ import annotations

import asyncio
import dataclasses
import functools

from console import builds, checks, expiries, forge_health, gauges, writers
from console.api import create_api
from console.audit import Audit
from console.audit_routes import AuditRoutes
from console.authority import Authority
from console.available import available
from console.device import Devices
from console.difference import DifferenceView
from console.forges import Forges
from console.identity.configured import bearers, provider_login
from console.origins import Origins
from console.projection import Projection
from console.service_feed import Feeds
from console.token_routes import TokenRoutes
from console.tokens import Tokens
from console.verification import Verification
from console.web.app import Front, create_web
from console.web.login import Login
from console.web.sessions import Sessions
from gitops.clusters.relay import Relayed
from pipeline.main import Process, in_background, room
from pipeline.registries import configured
from pipeline.serve import serve


async def serve_api(process: Process) -> None:
    """Fill the projection and answer until the process shall end."""
    told = process.settings
    home = room(told, "console")
    projection = Projection(home / "projection.sqlite")
    cluster = Relayed(process.store.bus)

    async def doctor() -> list[dict[str, str]]:
        found = await checks.stores(
            monitors=told.nats_monitor_url, durable=told.durability, registry=configured(told),
            githost=told.githost_url,
        )  # fmt: skip
        return [
            dataclasses.asdict(one)
            for one in (*found, *await cluster.check(), *await forge_health.checks(projection, process.store))
        ] + (await asyncio.to_thread(lambda: [*trusted(), *builds.builders(projection), *writers.checks(projection)]))

    def trusted() -> list[dict[str, str]]:
        """Kept out of the idle process: keys and git are loaded when somebody asks."""
        from console import trust_checks

        found = [*trust_checks.signing(told), trust_checks.policy(verification.policy)]
        return [dataclasses.asdict(one) for one in found]

    secure = expiries.endpoints(
        console=told.console_url, githost=told.githost_url, receiver=told.receiver_url,
        registry="" if told.registry_plain_http else f"https://{told.registry}",
    )  # fmt: skip
    process.gauges += gauges.sources(projection, process.store.bus, monitors=told.nats_monitor_url, endpoints=secure)
    feeds = Feeds(cluster)
    sessions = Sessions(process.store.bus, lifetime=told.session_lifetime)
    audit = Audit(process.store.bus, home / "audit.sqlite", keep=told.audit_retention)
    provider = provider_login(told, sessions, audit)
    login = Login(sessions, console_url=told.console_url, provider=provider, audit=audit)
    people = told.below_home(told.api_people)
    origins = Origins(process.store, own=told.api_token.reveal(), people=people)
    tokens = Tokens(process.store, projection, origins)
    devices = Devices(process.store.bus, tokens, console_url=told.console_url, lifetime=told.cli_lifetime)
    token_routes = TokenRoutes(tokens, Authority(projection), projection)
    more = [
        *login.api_routes(),
        *devices.routes(),
        *token_routes.routes(),
        *AuditRoutes(audit).routes(),
    ]

    async with configured(told) as images:
        verification = Verification(projection, process, images)
        api = create_api(
            projection=projection,
            store=process.store,
            logs=feeds,
            token=told.api_token.reveal(),
            people=people,
            forges=Forges(told.githost_url, told.receiver_url, tuple(root.reveal() for root in told.webhook_secrets)),
            doctor=doctor,
            verify=verification.answer,
            diff=DifferenceView(projection, cluster.diff).answer,
            available=functools.partial(available, images),
            stopping=process.stopping,
            more=more,
            audit=audit,
            others=[tokens.principal, *bearers(told, provider)],
        )
        web = create_web(
            projection=projection, store=process.store, logs=feeds, sessions=sessions, login=login,
            console_url=told.console_url, origins=origins, devices=devices, tokens=token_routes, audit=audit,
            doctor=doctor, stopping=process.stopping, verify=verification.release,
            available=functools.partial(available, images), packages=verification.packages,
        )  # fmt: skip
        async with in_background(projection.follow(process.store.bus)), in_background(audit.follow()):
            await serve(process, Front(api=api, web=web))
    projection.close()
    audit.close()
