"""``why``: all that is known of a push, commit, release, deployment or command, from what was decided to how it ended.

What was asked for names a few records; their runs and releases lead to the rest of the story.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from console.builds import view
from console.projection import Projection
from console.queries import SHORTEST_SHA, plain
from pipeline.errors import NotFound
from pipeline.jobs import run_status
from pipeline.records import Decision, Deployment, Job, Parked, Promotion, Record, Release, Run, Target

_KINDS: Final[dict[str, type[Record]]] = {
    "decisions": Decision,
    "runs": Run,
    "jobs": Job,
    "releases": Release,
    "deployments": Deployment,
    "parked": Parked,
    "promotions": Promotion,
}


def why(db: Projection, wanted: str) -> dict[str, Any]:
    """Every decision, run, job, release, deployment and parked event of the story. Raises NotFound."""
    named = list(_named(db, wanted))
    found = {record.subject: record for record in (*named, *_story(db, named))}
    if not found:
        hint = (
            "; of commits that are pushed together the last one is built: ask for that one" if _is_sha(wanted) else ""
        )
        raise NotFound(f"nothing is known of {wanted[:80]!r}{hint}", reason="nothing_known")
    groups = {name: [one for one in found.values() if isinstance(one, kind)] for name, kind in _KINDS.items()}
    answer: dict[str, list[dict[str, Any]]] = {
        name: [plain(one) for one in sorted(group, key=_time)] for name, group in groups.items()
    }
    for told, run in zip(answer["runs"], sorted(groups["runs"], key=_time), strict=True):
        assert isinstance(run, Run)
        told["status"] = run_status(run, db.find(Job, run=run.id))
    for told, job in zip(answer["jobs"], sorted(groups["jobs"], key=_time), strict=True):
        assert isinstance(job, Job)
        told["build"] = view(db, job)
    return {"query": wanted, **answer}


def _is_sha(wanted: str) -> bool:
    return len(wanted) >= SHORTEST_SHA and not set(wanted) - set("0123456789abcdef")


def _time(record: Record) -> str:
    return str(getattr(record, "created_at", "") or getattr(record, "at", ""))


def _named(db: Projection, wanted: str) -> Iterator[Record]:
    """The records that go by this id, or by a commit that begins so."""
    for kind in (Decision, Run, Release, Deployment, Parked, Promotion):
        if (record := db.get(kind, wanted)) is not None:
            yield record
    asked = [one for one in db.find(Promotion) if wanted in (one.id, one.command)]
    yield from asked
    yield from filter(None, (db.get(Decision, one.command) for one in asked))
    # A command for a whole environment is decided service by service.
    services = {target.service for target in db.find(Target)}
    yield from filter(None, (db.get(Decision, f"{wanted}/{service}") for service in sorted(services)))
    if _is_sha(wanted):
        for column in ("sha", "commit"):
            for kind in (Decision, Run, Release, Deployment):
                yield from db.starting(kind, column, wanted)


def _story(db: Projection, named: Iterable[Record]) -> Iterator[Record]:
    """What came of the named records; asked about one service, the others of its run are not told."""
    whole = any(isinstance(one, Run) or (isinstance(one, Decision) and one.about == "delivery") for one in named)
    services = set() if whole else {service for one in named if (service := str(getattr(one, "service", "")))}
    runs = {str(one.id) if isinstance(one, Run) else str(getattr(one, "run", "")) for one in named}
    for run in sorted(runs - {""}):
        yield from filter(None, [db.get(Run, run)])
        of_run = (record for kind in (Job, Decision, Release, Deployment) for record in db.find(kind, run=run))
        yield from (one for one in of_run if not services or getattr(one, "service", "") in {"", *services})
    releases = {one.id if isinstance(one, Release) else str(getattr(one, "release", "")) for one in named}
    for release in sorted(releases - {""}):
        yield from filter(None, [db.get(Release, release)])
        for kind in (Decision, Deployment):
            yield from db.find(kind, release=release)
