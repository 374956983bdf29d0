"""``python -m gitops committer|syncer|door|forge``: composes one process with its ports and runs it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import Invalid
from pipeline.lease import led
from pipeline.main import Process, in_background, main, room
from pipeline.records import Release

if TYPE_CHECKING:
    from gitops.clusters import Cluster
    from gitops.clusters.configured import Entry
    from gitops.forge import Forge
    from gitops.gate.signatures import Gate
    from gitops.git.gitcommit import Sign
    from gitops.syncing.desired import Desired
    from gitops.syncing.placement import Clusters, Open
    from pipeline.registry import Registry

log = logging.getLogger(__name__)

USER = "enclii"
KEY_WAIT = 60.0


async def committer(process: Process) -> None:
    """Releases and commands become config commits."""
    from gitops.committing import instances
    from gitops.committing.commit_loop import commit_forever
    from gitops.committing.committer import Committer
    from gitops.committing.ports import Ports
    from gitops.committing.sources import Sources
    from gitops.gate.permit import Permit
    from gitops.git.configrepo import ConfigRepo
    from gitops.syncing.waker import Waker
    from pipeline.keys import load_or_make
    from pipeline.mirrors import Mirrors
    from pipeline.registries import configured
    from pipeline.trust import known_by

    told = process.settings

    def login() -> tuple[str, str]:
        return USER, told.git_write_token.reveal()

    async def resumes(release: Release) -> frozenset[str]:
        return frozenset(release.resumes)

    async with configured(told) as images:
        gate = await gate_of(process, images)
        sources = Sources(process.store, Mirrors(told, room(told, "committer")))
        key = load_or_make(told.below_home(told.verifier_key))
        permit = Permit(process.store, images, gate, key, told.verifier_id, sources.on_branch)
        ports = Ports(
            gate=gate.release, permit=permit, is_descendant=sources.is_descendant, resumes=resumes,
            spec_of=sources.spec_of,
        )  # fmt: skip
        own, *former = [instances.fingerprint(known_by(one)) for one in gate.keys]
        repo = ConfigRepo(
            room(told, "committer") / "config.git", told.config_url, branch=told.config_branch, login=login,
            instance=instances.named(told.instance, own), sign=signature_of(told.config_signing_key, told.home),
            guard=process.store.guard,
        )  # fmt: skip
        known = frozenset({own, *former, *told.config_instances})  # a rotated key is no other installation
        writer = Committer(repo, process.store, ports=ports, instances=known)
        async with in_background(Waker(process.store).follow(), sources.follow()):
            await commit_forever(writer, process.store, process.stopping)


def signature_of(path: Path, home: Path) -> Sign | None:
    """What signs config commits, where a key is given. Raises Invalid."""
    if path == Path():
        return None
    from gitops.git import sshsig

    return sshsig.load(home / path).signature


async def syncer(process: Process) -> None:
    """Git becomes running containers, and what runs becomes records."""
    from gitops.clusters.exec_relay import ExecRelay
    from gitops.clusters.relay import Relay
    from gitops.git.configrepo import ConfigRepo
    from gitops.syncing import spans
    from gitops.syncing.desired import Desired
    from gitops.syncing.difference import difference
    from gitops.syncing.front import Front
    from gitops.syncing.heartbeat import Heartbeat
    from gitops.syncing.syncer import Syncer
    from pipeline.registries import configured

    told = process.settings
    home = room(told, "syncer")

    def login() -> tuple[str, str]:
        return USER, told.git_read_token.reveal()

    repo = ConfigRepo(home / "config.git", told.config_url, branch=told.config_branch, login=login)
    front = Front(process.store, door_url=told.door_url, door_ops=told.door_ops_port)
    async with configured(told) as images:
        gate = await gate_of(process, images)
        desired = Desired(repo)
        clusters = clusters_of(process, images, desired)
        spans.expect()
        await clusters.learn_all(process.store)
        worker = Syncer(process.store, clusters, desired, front, gate, told.deploy_timeout)
        bound = clusters.follow(process.store.bus)
        relay = Relay(process.store.bus, clusters, partial(difference, process.store, clusters, desired))
        commands = ExecRelay(process.store, clusters)
        secrets = secret_work(process, clusters)
        watching = (worker.follow(), worker.hints(), worker.heal(told.heal), Heartbeat(process.store).run())
        work = (bound, relay.run(), commands.run(), *watching, *secrets)
        async with in_background(*work):
            await process.stopping.wait()
        await clusters.close()


def secret_work(process: Process, clusters: Clusters) -> list[Coroutine[Any, Any, None]]:
    """What the process with the clusters' credentials does for secrets: say its key, keep values, forget old ones."""
    from gitops.syncing.secret_keeper import SecretKeeper, tidy
    from pipeline.sealing import load_or_make
    from pipeline.secret_requests import KEY_SUBJECT, STORE_SUBJECT

    keeper = SecretKeeper(load_or_make(room(process.settings, "syncer") / "secrets.key"), clusters.secrets)
    bus, store = process.store.bus, process.store
    return [
        bus.answer(KEY_SUBJECT, keeper.key),
        bus.answer(STORE_SUBJECT, keeper.keep),
        tidy(store, clusters.secrets),
    ]


def clusters_of(process: Process, images: Registry, desired: Desired) -> Clusters:
    """Podman, and the clusters of ``clusters.yaml``; what a cluster needs is imported when a service is on it."""
    from gitops.clusters.configured import PODMAN, read
    from gitops.syncing.placement import Clusters

    told = process.settings

    def load() -> Mapping[str, Open]:
        entries = read(told.below_home(told.clusters))
        known = {name: partial(kubernetes, process, images, desired, entry) for name, entry in entries.items()}
        return {PODMAN: partial(podman, process), **known}

    if told.cluster not in load():
        raise Invalid(f"ENCLII_CLUSTER names {told.cluster!r}: enclii cluster list", reason="unknown_cluster")
    return Clusters(told.cluster, load, process.store.guard)


def podman(process: Process) -> Cluster:
    """The cluster of this machine."""
    from gitops.clusters.podman import Podman
    from gitops.clusters.podman_host import write_configuration
    from pipeline.registries import registries_of

    conf = write_configuration(room(process.settings, "syncer"))
    return Podman(
        instance=process.settings.instance,
        registry=process.settings.registry,
        containers_conf=conf,
        registries=registries_of(process.settings),
    )


def kubernetes(process: Process, images: Registry, desired: Desired, entry: Entry) -> Cluster:
    """One cluster of ``clusters.yaml``, applied to by us or by its own tool."""
    from gitops.clusters.kube_login import Access, login
    from gitops.clusters.kubernetes import Kubernetes
    from pipeline.images import ImageRef

    async def members(image: str) -> frozenset[str]:
        ref = ImageRef.parse(image)
        found = await images.manifest(ref.repository, ref.digest)
        listed = json.loads(found.body).get("manifests") or () if found else ()
        return frozenset({ref.digest, *(str(one.get("digest")) for one in listed)})

    told = process.settings
    theirs = {name: value for name, value in os.environ.items() if not name.startswith("ENCLII_")}
    access = login(Access(entry.kubeconfig, entry.context, entry.in_cluster, theirs))
    if entry.sync == "own":
        return Kubernetes(access, instance=told.instance, pod_security=entry.pod_security, members=members)
    from gitops.clusters import tool_settings
    from gitops.clusters.tools import Synced
    from gitops.wiring import Source, bare_address

    source = Source(bare_address(told.config_url), told.config_branch)
    around = tool_settings.Around(source, told.instance, told.home, desired.includes, entry.pod_security)
    settings = entry.argocd if entry.sync == "argocd" else entry.flux
    tool = tool_settings.made(entry.sync, settings, around, cluster=entry.name)
    return Synced(access, tool, instance=told.instance, pod_security=entry.pod_security, members=members)


async def door(process: Process) -> None:
    """Names become addresses: the one place that requests to services pass."""
    from gitops.door.control import BadQuestion, drained_question, routes_view
    from gitops.door.following import follow, whole
    from gitops.door.hits import Hits
    from gitops.door.proxy import Door
    from gitops.door.routes import RouteTable
    from gitops.door.waiting import drained
    from pipeline.previews import HITS

    table = RouteTable(whole=False)
    told = process.settings

    async def show(_: str) -> tuple[int, bytes]:
        return 200, json.dumps(routes_view(table)).encode()

    async def wait(query: str) -> tuple[int, bytes]:
        try:
            host, address, seq, limit = drained_question(query)
        except BadQuestion as problem:
            return 400, json.dumps({"error": str(problem)}).encode()
        done = await drained(table, host, address, seq=seq, timeout=min(limit, 8.0))
        return 200, json.dumps({"drained": done}).encode()

    process.routes |= {"/routes": show, "/drained": wait}
    process.checks["routes"] = whole(table)
    hits = Hits(lambda host: process.store.bus.ask(HITS, host.encode()))
    proxy = Door(table=table, hits=hits)
    await proxy.start(told.host, told.port)
    async with in_background(follow(process.store.bus, table, hits)):
        await process.stopping.wait()
    await proxy.close(told.drain)


async def forge(process: Process) -> None:
    """Forges are told what the records say, and asked who may do what: the one process with their credentials."""
    from gitops.forge.answering import Answers
    from gitops.forge.commands import Commands
    from gitops.forge.commit_checks import CommitChecks
    from gitops.forge.credentials import Credential, configured
    from gitops.forge.forges import Forges
    from gitops.forge.notifying import Notifier
    from gitops.forge.pending import Pending
    from gitops.forge.promotions import Promotions
    from gitops.forge.proposals import Proposals
    from gitops.forge.safety import SafetyNet
    from gitops.forge.upkeep import Upkeep
    from pipeline.events import CheckAsked, CommentPosted, RepositoryMoved
    from pipeline.worker import Stage, work

    told, store = process.settings, process.store

    def github(credential: Credential) -> Forge:
        from gitops.forge.github import GitHub

        return GitHub(credential)

    def other(credential: Credential) -> Forge:
        from gitops.forge.others import Gitea, GitLab

        return GitLab(credential) if credential.forge == "gitlab" else Gitea(credential)

    folder = told.below_home(told.forges)
    if not configured(folder):
        log.warning("no forge's credential is in %s: nothing is told to any", folder)
    forges = Forges(store, folder, {"github": github} | dict.fromkeys(("gitlab", "gitea", "forgejo"), other))
    pending = Pending(store)
    await pending.load()
    answers = Answers(store, forges, console_url=told.console_url, commands=pending)
    commands = Commands(store, forges, pending, console_url=told.console_url)
    upkeep = Upkeep(store, forges, pending)
    notifier = Notifier(store, folder, console_url=told.console_url)
    net = SafetyNet(store, forges)
    proposals = Proposals(
        store, forges, config_url=told.config_url, branch=told.config_branch, console_url=told.console_url
    )
    promoted = Promotions(store, CommitChecks(store, forges), proposals)
    following = (promoted.follow(), promoted.hints(), promoted.work())
    comments = Stage("forge-comments", (CommentPosted,), commands.handle, commands.failed)
    others = Stage("forge-others", (CheckAsked, RepositoryMoved), upkeep.handle, upkeep.failed)
    async with in_background(
        notifier.work(),
        *notifier.watching(),
        answers.work(),
        upkeep.decisions(),
        net.forever(),
        *following,
        *answers.watching(),
    ):
        await asyncio.gather(work(comments, store, process.stopping), work(others, store, process.stopping))


async def gate_of(process: Process, images: Registry) -> Gate:
    """The gate with what the instance accepts; the signer writes its public keys at its first start."""
    from gitops.gate.signatures import Gate
    from pipeline.isolation import builder_ids
    from pipeline.key_files import accepted_keys, preview_keys

    told = process.settings
    own = () if told.keyless_identity else (told.verify_key,)
    paths = [told.below_home(one) for one in (*own, told.preview_verify_key)]
    async with asyncio.timeout(KEY_WAIT):
        while not all(path.is_file() for path in paths):  # noqa: ASYNC110 - another process writes them
            await asyncio.sleep(0.05)
    return Gate(process.store, images, accepted_keys(told), builder_ids(told.builder_id), preview_keys(told))


PROCESSES = {"committer": led(committer), "syncer": led(syncer), "door": door, "forge": forge}

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in PROCESSES:
        sys.exit(f"usage: python -m gitops {'|'.join(PROCESSES)}")
    main(sys.argv[1], PROCESSES[sys.argv[1]])
