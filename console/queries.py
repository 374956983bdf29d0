"""The questions that people ask, answered from the projection as plain values that are ready to be JSON.

Nothing here writes, waits or leaves the process; an unknown name raises NotFound with a suggestion.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from console import paging, sight, texts
from console.projection import Projection
from gitops.committing.history import rollback_target, undone
from pipeline.errors import Invalid, NotFound, Refused
from pipeline.jobs import run_status
from pipeline.names import release_id, service_id
from pipeline.previews import SCOPE, Preview
from pipeline.records import (
    Deployment,
    Job,
    Live,
    Parked,
    Project,
    Release,
    Repository,
    Run,
    ServiceRecord,
    Target,
)
from pipeline.servicefile import ServiceSpec

Value = dict[str, Any]
SHORTEST_SHA: Final = 4
SETTLING: Final = 10.0
BUSY_JOBS: Final = frozenset({"queued", "building", "signing", "committing"})
BUSY_DEPLOYMENTS: Final = frozenset({"pending", "progressing"})


def plain(record: msgspec.Struct) -> Value:
    """A record with every field, defaults too: an answer's shape must not depend on its values."""
    return {name: _plain(getattr(record, name)) for name in record.__struct_fields__}


def _plain(value: object) -> Any:
    if isinstance(value, msgspec.Raw):
        return json.loads(bytes(value) or b"null")
    if isinstance(value, msgspec.Struct):
        return plain(value)
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def projects(db: Projection) -> Value:
    """Every project with its environments, repositories and services."""
    return {"projects": [_project(db, project) for project in db.find(Project)]}


def project(db: Projection, slug: str) -> Value:
    """One project. Raises NotFound."""
    return _project(db, known_project(db, slug))


def _project(db: Projection, project: Project) -> Value:
    repositories = db.find(Repository, project=project.slug)
    known = {record.service: record.repository for record in db.find(ServiceRecord, project=project.slug)}
    return {
        "slug": project.slug,
        "environments": [plain(environment) for environment in project.environments],
        "repositories": [{"id": r.id, "name": r.name, "forge": r.forge, "url": r.url} for r in repositories],
        "services": [
            {"name": name, "id": service_id(project.slug, name), "repository": known.get(name, "")}
            for name in db.services(project.slug)
        ],
        "created_at": project.created_at,
    }


def known_project(db: Projection, slug: str) -> Project:
    """The project. Raises NotFound."""
    found = db.get(Project, slug)
    if found is None:
        hint = texts.suggestion(slug, (project.slug for project in db.find(Project)))
        raise NotFound(f"no project {slug!r}{hint}", reason="no_such_project")
    return found


def known_service(db: Projection, project: str, service: str) -> None:
    """Return if the service exists. Raises NotFound."""
    known_project(db, project)
    if db.get(ServiceRecord, project, service):
        return
    if any(db.find(kind, limit=1, project=project, service=service) for kind in (Target, Job)):
        return  # also while it is built for the first time
    if service not in (names := db.services(project)):
        hint = texts.suggestion(service, names)
        raise NotFound(f"no service {service!r} in {project}{hint}", reason="no_such_service")


def known_environment(db: Projection, project: str, environment: str) -> None:
    """Return if the environment exists, also as a preview's or as that of all previews' secrets, and may be seen.

    Raises NotFound.
    """
    every = [found.name for found in known_project(db, project).environments]
    every += [SCOPE, *(found.environment for found in db.find(Preview, project=project))]
    names = [found for found in every if sight.sees(project, found)]
    if environment not in names:
        hint = texts.suggestion(environment, names)
        raise NotFound(f"no environment {environment!r} in {project}{hint}", reason="no_such_environment")


def known_release(db: Projection, wanted: str) -> Release:
    """The release with that id. Raises NotFound."""
    found = db.get(Release, wanted)
    if found is None:
        raise NotFound(f"no release {wanted[:90]!r}", reason="no_such_release")
    return found


def check_scope(db: Projection, project: str, environment: str, service: str) -> None:
    """Check every name that is not empty. Raises NotFound."""
    if project:
        known_project(db, project)
    if project and service:
        known_service(db, project, service)
    if project and environment:
        known_environment(db, project, environment)


def latest_deployment(db: Projection, project: str, service: str, environment: str) -> Value:
    """The newest attempt to deploy the service, whatever became of it. Raises NotFound."""
    check_scope(db, project, environment, service)
    found = _newest(db, project, service, environment)
    if found is None:
        raise NotFound(f"{service_id(project, service)} was never deployed", reason="never_deployed")
    return deployment_view(db, found)


def _newest(db: Projection, project: str, service: str, environment: str) -> Deployment | None:
    wanted = {"project": project, "service": service, "environment": environment}
    found = db.find(Deployment, limit=1, newest_first=True, **wanted)
    return found[0] if found else None


def deployment(db: Projection, wanted: str) -> Value:
    """One deployment. Raises NotFound."""
    found = db.get(Deployment, wanted)
    if found is None:
        raise NotFound(f"no deployment {wanted!r}", reason="no_such_deployment")
    return deployment_view(db, found)


def release_deployments(db: Projection, release: str) -> Value:
    """Where and when a release was deployed, newest first. Raises NotFound."""
    if db.get(Release, release) is None:
        raise NotFound(f"no release {release!r}", reason="no_such_release")
    found = db.find(Deployment, release=release, newest_first=True)
    return {"deployments": [deployment_view(db, one) for one in found]}


def deployment_view(db: Projection, found: Deployment) -> Value:
    """A deployment with what runs of it: ``health`` and ``replicas`` are the observer's while it is the live one."""
    live = db.get(Live, found.project, found.environment, found.service)
    seen = live if live and live.deployment == found.id else None
    target = db.get(Target, found.project, found.environment, found.service)
    orphaned = target is not None and target.orphaned and target.deployment == found.id
    return plain(found) | {
        "status": "orphaned" if orphaned and found.status in ("running", "degraded") else found.status,
        "deployment_id": found.id,
        "service_id": service_id(found.project, found.service),
        "release_id": found.release,
        "version": texts.version(found.release),
        "health": seen.health if seen else "unknown",
        "replicas": seen.desired if seen else _wanted_replicas(db, found),
        "ready_replicas": seen.ready if seen else 0,
    }


def _wanted_replicas(db: Projection, found: Deployment) -> int:
    release = db.get(Release, found.release)
    spec = json.loads(bytes(release.spec) or b"null") if release else None
    if not isinstance(spec, dict):
        return 0
    override = spec.get("environments", {}).get(found.environment, {}).get("replicas")
    return int(spec.get("replicas", 1) if override is None else override)


def dead_lines(db: Projection, project: str, environment: str, service: str, release: str = "") -> list[dict[str, str]]:
    """The last lines of dead containers, as the newest deployment (of ``v41``) that has some kept them.

    Raises NotFound.
    """
    wanted = release_named(project, service, release) if release else ""
    tries = db.find(
        Deployment, newest_first=True, project=project, environment=environment, service=service, release=wanted
    )  # fmt: skip
    found = next((one for one in tries if one.dead_logs), None)
    if found is None:
        of = f"{service} {release}".rstrip()
        raise NotFound(f"no container of {of} that died in {environment} left a line", reason="no_dead_logs")
    parts = (line.partition(" ") for line in found.dead_logs)
    return [
        {"time": "", "replica": replica, "release": texts.version(found.release), "stream": "", "text": text}
        for replica, _, text in parts
    ]


def releases(
    db: Projection, project: str, service: str, environment: str, limit: int, after: tuple[str, ...] | None = None
) -> Value:
    """The service's releases, newest first, each with the newest that happened to it."""
    check_scope(db, project, environment, service)
    found, following = db.page(Release, limit=limit, after=after, project=project, service=service)
    lives = db.find(Live, project=project, service=service, environment=environment)
    targets = db.find(Target, project=project, service=service, environment=environment)
    shown = [_release(db, one, lives, targets) for one in found]
    return {"service": service_id(project, service), "releases": shown, **paging.following(following)}


def release_view(db: Projection, found: Release) -> Value:
    """One release, with the newest that happened to it anywhere."""
    lives = db.find(Live, project=found.project, service=found.service)
    targets = db.find(Target, project=found.project, service=found.service)
    return _release(db, found, lives, targets)


def _release(db: Projection, release: Release, lives: Sequence[Live], targets: Sequence[Target]) -> Value:
    places = {live.environment for live in lives if live.release == release.id and live.deployment}
    environments = {target.environment for target in targets}
    tries = [d for d in db.find(Deployment, release=release.id, newest_first=True) if d.environment in environments]
    held = any(target.held and target.held_release == release.id for target in targets)
    status = "held" if held else tries[0].status if tries else "ready"
    return {
        "id": release.id,
        "version": f"v{release.number}",
        "number": release.number,
        "image_uri": release.image,
        "digest": release.image.rpartition("@")[2],
        "git_sha": release.sha,
        "ref": release.ref,
        "subject_line": release.subject_line,
        "created_at": release.created_at,
        "actor": tries[0].actor if tries and tries[0].actor else release.actor,
        "via": tries[0].via if tries else "push",
        "run": release.run,
        "reused": release.reused,
        "status": status,
        "live": sorted(places),
        "desired": sorted(one.environment for one in targets if one.deployment and one.release == release.id),
        "took": _took(db, release, tries),
    }


def _took(db: Projection, release: Release, tries: Sequence[Deployment]) -> float | None:
    """Seconds from the push until it ran for the first time; None while it never did."""
    ran = min((one.running_at for one in tries if one.running_at), default="")
    pushed = db.get(Run, release.run)
    begun, ended = texts.moment(pushed.created_at if pushed else release.created_at), texts.moment(ran)
    return round(max(0.0, (ended - begun).total_seconds()), 1) if begun and ended else None


def rollback_plan(db: Projection, project: str, service: str, environment: str, to: int) -> Value:
    """What a rollback would do now. Raises NotFound, Refused."""
    check_scope(db, project, environment, service)
    target = db.get(Target, project, environment, service)
    if target is None or not target.deployment:
        raise Refused(f"nothing of {service} is deployed in {environment}", reason="not_deployed")
    history = db.find(Deployment, project=project, environment=environment, service=service)
    back = rollback_target(history, current=target, to=to)
    release = db.get(Release, back.release)
    return {
        "project": project,
        "environment": environment,
        "service": service,
        "expected": target.deployment,
        "from": texts.version(target.release),
        "to": texts.version(back.release),
        "image": back.image,
        "git_sha": back.sha,
        "running_at": back.running_at,
        "recovered": back.recovered and not back.running_at,
        "actor": release.actor if release else back.actor,
        "undone": [{"version": texts.version(d.release), "git_sha": d.sha} for d in undone(
            history, target=back, current=target)],
        "held": target.held,
        "changes": _changes(db, target, back),
        "secrets": _other_secrets(db.get(Deployment, target.deployment), back),
    }  # fmt: skip


def _changes(db: Projection, current: Target, back: Deployment) -> list[Value]:
    """What the containers have otherwise after going back."""
    return differences(db, current.environment, (current.release, current.image), (back.release, back.image))


def differences(db: Projection, environment: str, old: tuple[str, str], new: tuple[str, str]) -> list[Value]:
    """What differs between two (release, image), as ``{"field", "from", "to"}``; None where it is absent."""
    before = _configuration(db, old[0], environment) | {"image": old[1]}
    after = _configuration(db, new[0], environment) | {"image": new[1]}
    names = sorted(before.keys() | after.keys())
    pairs = ((name, before.get(name), after.get(name)) for name in names)
    return [{"field": name, "from": first, "to": second} for name, first, second in pairs if first != second]


def _configuration(db: Projection, release: str, environment: str) -> Value:
    """What a release gives its containers in one environment, by names such as ``env.LOG_LEVEL``."""
    found = db.get(Release, release)
    if found is None:
        return {}
    spec = plain(msgspec.json.decode(found.spec, type=ServiceSpec).for_environment(environment))
    flat = {name: spec[name] for name in ("command", "port", "health", "replicas", "secrets") if spec[name]}
    flat |= {f"env.{name}": value for name, value in spec["env"].items()}
    return flat | {f"resources.{name}": value for name, value in spec["resources"].items() if value}


def _other_secrets(now: Deployment | None, back: Deployment) -> list[Value]:
    """The secrets whose version a rollback changes; what was set since and is not used there is left out."""
    used = now.secrets if now else {}
    names = sorted(name for name in back.secrets if used.get(name) != back.secrets[name])
    return [{"name": name, "from": used.get(name), "to": back.secrets[name]} for name in names]


def runs(db: Projection, project: str, limit: int, after: tuple[str, ...] | None = None) -> Value:
    """Runs, newest first."""
    if project:
        known_project(db, project)
    found, following = db.page(Run, limit=limit, after=after, project=project)
    shown = [plain(run) | {"status": run_status(run, db.find(Job, run=run.id))} for run in found]
    return {"runs": shown, **paging.following(following)}


def run(db: Projection, wanted: str) -> Value:
    """One run with its jobs and deployments; ``finished`` when nothing of it moves any more. Raises NotFound."""
    found = db.get(Run, wanted)
    if found is None:
        raise NotFound(f"no run {wanted!r}", reason="no_such_run")
    jobs = db.find(Job, run=wanted)
    deployments = db.find(Deployment, run=wanted)
    status = run_status(found, jobs)
    busy = status == "running" or any(d.status in BUSY_DEPLOYMENTS for d in deployments)
    reached = {one.service for one in deployments}
    busy = busy or any(_just_deployed(job) for job in jobs if job.service not in reached)
    return plain(found) | {
        "status": status,
        "jobs": [plain(job) for job in jobs],
        "deployments": [deployment_view(db, one) for one in deployments],
        "finished": not busy,
    }


def _just_deployed(job: Job) -> bool:
    """A job's end and its deployment are made in one step of the committer's, and may be read one after the other."""
    ended = texts.seconds_between(job.finished_at, datetime.datetime.now(datetime.UTC))
    return job.status == "deployed" and ended is not None and ended < SETTLING


def parked(db: Projection) -> Value:
    """The events that wait for a person."""
    return {"parked": [plain(one) for one in db.find(Parked) if one.state == "parked"]}


def release_named(project: str, service: str, version: str) -> str:
    """The release id of ``v41`` or ``41``. Raises Invalid."""
    number = version.removeprefix("v")
    if not (number.isascii() and number.isdecimal() and len(number) < 10):
        raise Invalid("release: a version such as v41", reason="bad_field")
    return release_id(project, service, int(version.removeprefix("v")))
