"""``python -m ingest receiver|githost``: composes one door to the outside world and serves it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import msgspec

from pipeline import durability
from pipeline.hooks import app_hook, hook_secret, root_id
from pipeline.main import Process, in_background, main, room
from pipeline.records import Repository
from pipeline.serve import serve


async def githost(process: Process) -> None:
    """``git push`` becomes deliveries."""
    from ingest.access import Tokens
    from ingest.githost import create_githost
    from ingest.gitrepos import CONFIG_NAME, CONFIG_PROJECT, RepositoryName
    from pipeline.servicefile import parse_servicefile

    told = process.settings
    await durability.demand_git(told.durability)
    tokens = Tokens(
        deploy=told.git_deploy_token.reveal(), read=told.git_read_token.reveal(), config=told.git_write_token.reveal()
    )
    host = create_githost(
        store=process.store, state=room(told, "githost"), tokens=tokens, check=parse_servicefile,
        git_url=told.githost_url, console_url=told.console_url, max_push=told.push_limit, sweep=told.sweep,
    )  # fmt: skip
    config = RepositoryName.of(CONFIG_PROJECT, CONFIG_NAME)
    if not host.repositories.exists(config):
        await host.repositories.create(config)
    async with host:
        await serve(process, host)


async def receiver(process: Process) -> None:
    """Webhooks become deliveries."""
    from ingest.hooks import Secret
    from ingest.receiver import create_receiver

    # Read before the first request: a hook that is not known yet would be refused, and forges do not ask twice.
    hooks = {found.id: (found.forge, found.hook) for found in await process.store.all(Repository) if found.project}
    roots = [root.reveal() for root in process.settings.webhook_secrets]
    apps = frozenset(app_hook(root) for root in roots)

    def secrets(forge: str, hook: str) -> Sequence[Secret] | None:
        if (forge, hook) not in hooks.values() and (forge != "github" or hook not in apps):
            return None
        return [Secret(root_id(root), hook_secret(root, hook).encode()) for root in roots]

    async def follow() -> None:
        async with process.store.bus.watch("st.repository.*") as messages:
            async for message in messages:
                found = msgspec.json.decode(message.data, type=Repository)
                hooks[found.id] = (found.forge, found.hook) if found.project and found.hook else ("", "")

    async with in_background(follow()):
        await serve(process, create_receiver(store=process.store, secrets=secrets, apps=apps))


PROCESSES = {"receiver": receiver, "githost": githost}

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in PROCESSES:
        sys.exit(f"usage: python -m ingest {'|'.join(PROCESSES)}")
    main(sys.argv[1], PROCESSES[sys.argv[1]])
