"""The state of everything on one screen: per service what git wants, what runs, what holds it, and what to do next."""

from __future__ import annotations

from console import texts
from console.projection import Projection
from console.queries import Value, check_scope, plain, runs
from pipeline.records import Deployment, Job, Live, Release, ReplicaView, Target


def status(db: Projection, project: str, environment: str, service: str) -> Value:
    """One entry per service and environment. Raises NotFound."""
    seq = db.position()  # first: whoever waits for what comes behind it must not miss what came while this was read
    check_scope(db, project, environment, service)
    targets = {t.key: t for t in db.find(Target, project=project, environment=environment, service=service)}
    lives = {v.key: v for v in db.find(Live, project=project, environment=environment, service=service)}
    known = sorted(targets.keys() | lives.keys())
    keys = [key for key in known if _there(targets.get(key), lives.get(key)) or (service and key in targets)]
    found = [_entry(db, key, targets.get(key), lives.get(key)) for key in keys]
    recent = next(iter(runs(db, project, 1)["runs"]), None)
    failed = [plain(job) for job in db.find(Job, run=recent["id"]) if job.status == "failed"] if recent else []
    return {"seq": seq, "services": found, "last_run": recent, "failed_jobs": failed}


def page(db: Projection, wanted: str, offset: int, limit: int) -> tuple[list[Value], int]:
    """Some entries of all whose ``project/environment/service`` contains ``wanted``, and how many there are.

    Only what is shown is read: an installation may have tens of thousands.
    """
    places, count = db.all_places(wanted, offset=offset, limit=limit)
    targets = {one.key: one for one in db.at(Target, Target, places)}
    lives = {one.key: one for one in db.at(Live, Live, places)}
    found = [(place, targets.get(place), lives.get(place)) for place in places]
    shown = [one for one in found if _there(one[1], one[2])]
    return [_entry(db, place, target, live) for place, target, live in shown], count


def _there(target: Target | None, live: Live | None) -> bool:
    """Whether git wants it or something of it runs; what was removed and is gone is shown to who asks for it alone."""
    return bool(target and target.deployment) or bool(live and live.replicas)


def _entry(db: Projection, key: tuple[str, ...], target: Target | None, live: Live | None) -> Value:
    project, environment, service = key
    newest = db.find(Deployment, limit=1, newest_first=True, project=project, environment=environment, service=service)
    wanted = _wanted(db, target.deployment, newest) if target and target.deployment else None
    word = _status(target, live, wanted)
    leaving = word == "removed"
    return {
        "project": project,
        "environment": environment,
        "service": service,
        "status": word,
        # What git no longer wants is on its way out: that it still answers says nothing about a minute from now.
        "health": live.health if live and not leaving else "unknown",
        "desired": _side(target.deployment, target.release, target.image, target.sha) if target else None,
        "live": _live(live),
        "reason": (wanted.reason if wanted else "") or (live.reason if live else ""),
        "message": wanted.message if wanted else "",
        "hold": _hold(target),
        "scaled": target.scaled if target else None,
        "url": live.address if live else "",
        "last_deployment": _last(newest[0]) if newest else None,
        "orphaned": bool(target and target.orphaned),
        "next": _next(word, target),
    }


def _last(found: Deployment) -> Value:
    """``took`` is the seconds until it ran; None when it never did."""
    begun, ran = texts.moment(found.created_at), texts.moment(found.running_at)
    took = round(max((ran - begun).total_seconds(), 0.0), 1) if begun and ran else None
    named = {name: getattr(found, name) for name in ("id", "status", "created_at", "actor", "via")}
    return {**named, "took": took}


def _wanted(db: Projection, deployment: str, newest: list[Deployment]) -> Deployment | None:
    """Mostly it is the newest, which has been read."""
    return newest[0] if newest and newest[0].id == deployment else db.get(Deployment, deployment)


def _side(deployment: str, release: str, image: str, sha: str) -> Value:
    return {"deployment": deployment, "release": release, "version": texts.version(release), "image": image, "sha": sha}


def _live(live: Live | None) -> Value | None:
    if live is None or not live.deployment:
        return None
    return _side(live.deployment, live.release, live.image, "") | {
        "status": live.status,
        "health": live.health,
        "replicas": f"{live.ready}/{live.desired}",
        "since": live.since,
        "drift": list(live.drift),
    }


def _status(target: Target | None, live: Live | None, wanted: Deployment | None) -> str:
    """What is wanted and runs is as the observer says; what is wanted and does not run is as its deployment says."""
    if target is None or not target.deployment:
        return "removed"
    if target.orphaned:
        return "orphaned"
    if live and live.deployment == target.deployment:
        return live.status
    return wanted.status if wanted else "pending"


def _hold(target: Target | None) -> Value | None:
    if target is None or not target.held:
        return None
    return {
        "by": target.hold_by,
        "reason": target.hold_reason,
        "since": target.hold_since,
        "from": texts.version(target.hold_from),
        "waiting": texts.version(target.held_release),
    }


def _next(word: str, target: Target | None) -> str:
    if target is None:
        return ""
    verb = "destroy" if word == "orphaned" else "logs" if word == "failed" else "resume" if target.held else ""
    # Whole: without a service, a resume is for every one of the environment.
    return f"enclii {verb} -p {target.project} -e {target.environment} -s {target.service}" if verb else ""


def processes(db: Projection, project: str, environment: str, service: str) -> Value:
    """One entry per replica, and one for each service of which nothing runs. Raises NotFound."""
    overview = status(db, project, environment, service)
    rows: list[Value] = []
    for entry in overview["services"]:
        live = db.get(Live, entry["project"], entry["environment"], entry["service"])
        replicas = live.replicas if live else ()
        place = {name: entry[name] for name in ("project", "environment", "service")}
        rows += [place | _process(db, entry, live, number, r) for number, r in enumerate(replicas, 1) if live]
        if not replicas:
            rows.append(place | _absent(entry))
    return {"seq": overview["seq"], "processes": rows, "services": overview["services"]}


def _process(db: Projection, entry: Value, live: Live, number: int, replica: ReplicaView) -> Value:
    return {
        "process": f"{live.service}.{number}",
        "name": replica.name,
        "ready": "1/1" if replica.state == "ready" else "0/1",
        "status": {"orphaned": "orphaned", "removed": "stopping"}.get(entry["status"]) or _word(replica.state),
        "reason": replica.reason,
        "restarts": replica.restarts,
        "started_at": replica.started_at,
        "release": _release_of(db, live, replica.digest),
        "digest": replica.digest,
        "address": replica.address,
        "node": replica.node,
    }


def _word(state: str) -> str:
    return {"ready": "running"}.get(state, state)


def _release_of(db: Projection, live: Live, digest: str) -> str:
    """While one release replaces another, replicas of both are there: each is told by its image."""
    if not digest or live.image.endswith(digest):
        return texts.version(live.release)
    found = db.find(Release, project=live.project, service=live.service, newest_first=True, limit=50)
    return next((f"v{release.number}" for release in found if release.image.endswith(digest)), "?")


def _absent(entry: Value) -> Value:
    wanted = entry["desired"] or {}
    return {
        "process": entry["service"],
        "name": "",
        "ready": "0/0",
        "status": entry["status"],
        "reason": entry["reason"],
        "restarts": 0,
        "started_at": "",
        "release": wanted.get("version", ""),
        "digest": "",
        "address": "",
        "node": "",
    }
