"""Answers of the API as lines of text: pure functions from JSON to tables, ready for any terminal or pipe.

Text from outside passes through ``printable``, so no name, message or reason can drive the reader's terminal.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from typing import Any, Final

from console.build_texts import explained
from console.texts import age, failure, printable, seconds_between, short, span

Value = dict[str, Any]
GAP: Final = "  "
_AVAILABLE: Final = {True: "yes", False: "no", None: "?"}


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; the last is not padded."""
    cells = [list(header), *[[printable(cell) for cell in row] for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = (GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells)
    return "\n".join(lines)


def when(moment: str, now: datetime.datetime, *, relative: bool) -> str:
    """A time for people (``2h ago``) or for a file (RFC 3339)."""
    if not moment:
        return "-"
    return f"{age(moment, now)} ago" if relative else moment


def processes(answer: Value, now: datetime.datetime, *, wide: bool = False) -> str:
    """``ps``: a line of state per service, then one row per process."""
    header = ["PROCESS", "READY", "STATUS", "RESTARTS", "AGE", "RELEASE", "NODE"]
    rows = [
        [p["process"], p["ready"], _status(p), str(p["restarts"]), age(p["started_at"], now), p["release"] or "-",
         p.get("node") or "-", *((p["name"] or "-", p["address"] or "-", p["digest"] or "-") if wide else ())]
        for p in answer["processes"]
    ]  # fmt: skip
    heads = [_headline(service, wide=wide) for service in answer["services"]]
    return "\n".join([*heads, table([*header, *(("NAME", "ADDRESS", "DIGEST") if wide else ())], rows)])


def _status(row: Value) -> str:
    return f"{row['status']} ({row['reason']})" if row.get("reason") else str(row["status"])


def _headline(service: Value, *, wide: bool = False) -> str:
    live, desired = service["live"], service["desired"]
    parts = [f"{service['project']}/{service['environment']} {service['service']}"]
    parts.append(
        f"live {live['version']} {live['image'] if wide else short(live['image'])}" if live else "nothing live"
    )
    if desired and (not live or live["deployment"] != desired["deployment"]):
        parts.append(f"(desired {desired['version'] or 'none'})")
    if service.get("orphaned"):
        parts.append("orphaned")
    if service["hold"]:
        parts.append("held")
    if _is_scaled(service):
        parts.append(f"scaled to {service['scaled']}")
    if _drift(service):
        parts.append("drifted")
    parts += [service["url"], service["health"]]
    return GAP.join(printable(part) for part in parts if part)


def releases(answer: Value, now: datetime.datetime, *, relative: bool, wide: bool = False) -> str:
    """``releases``: newest first; ``*`` is live, ``→`` is what git wants while that does not run yet."""
    header = ["REL", "STATUS", "COMMIT", "DIGEST", "AVAIL", "BY", "VIA", "WHEN", "TOOK"]
    rows = [
        [
            r["version"] + ("*" if r["live"] else "") + ("→" if set(r.get("desired", ())) - set(r["live"]) else ""),
            r["status"],
            r["git_sha"] if wide else r["git_sha"][:7],
            r["digest"] if wide else short(r["digest"]),
            _AVAILABLE[r.get("available")],
            r["actor"] or "-",
            r["via"],
            when(r["created_at"], now, relative=relative),
            "-" if r.get("took") is None else span(r["took"]),
            *((r["id"], r["run"] or "-") if wide else ()),
        ]
        for r in answer["releases"]
    ]
    return table([*header, *(("ID", "RUN") if wide else ())], rows)


def status(answer: Value, now: datetime.datetime, *, relative: bool, wide: bool = False) -> str:
    """``status``: one block per service, and the newest run."""
    blocks = [_block(service, now, relative=relative, wide=wide) for service in answer["services"]]
    run = answer["last_run"]
    if run:
        told = f"{run['id']} {run['status']} {run['sha'][:7]} {run['subject_line']}"
        reason = f" ({run['reason']})" if run["reason"] else ""
        failed = (
            line
            for job in answer.get("failed_jobs", ())
            for line in (f"  {job['service']}", *(f"  {line}" for line in failure(job)))
        )
        blocks.append("\n".join([f"last run  {printable(told + reason)}", *map(printable, failed)]))
    return "\n\n".join(blocks) if blocks else "nothing is deployed yet"


def _block(service: Value, now: datetime.datetime, *, relative: bool, wide: bool) -> str:
    live, desired, hold = service["live"], service["desired"], service["hold"]
    pairs = [
        ("service", f"{service['project']}/{service['environment']} {service['service']}"),
        ("status", _status(service) + f", {service['health']}"),
        ("live", _side(live, wide=wide) + (_running(live, now, relative=relative) if live else "")),
        ("desired", _side(desired, wide=wide)),
        ("scaled", f"to {_count(service['scaled'])}, not as enclii.yaml says" if _is_scaled(service) else ""),
        ("orphaned", "enclii.yaml does not have it any more" if service.get("orphaned") else ""),
        ("held", _hold(hold, now, relative=relative) if hold else ""),
        *(("drift", line) for line in _drift(service)),
        ("message", service["message"]),
        ("url", service["url"]),
        ("next", service["next"]),
    ]
    return "\n".join(f"{name:<8}  {printable(value)}" for name, value in pairs if value)


def _is_scaled(service: Value) -> bool:
    return service.get("scaled") is not None


def _count(replicas: int) -> str:
    return "1 replica" if replicas == 1 else f"{replicas} replicas"


def _drift(service: Value) -> list[str]:
    """How the cluster differs from git; an older server does not say."""
    return list((service["live"] or {}).get("drift") or ())


def _running(live: Value, now: datetime.datetime, *, relative: bool) -> str:
    return f"  {live['replicas']}  since {when(live['since'], now, relative=relative)}"


def _side(side: Value | None, *, wide: bool) -> str:
    if not (side and side["image"]):
        return "nothing"
    return f"{side['version'] or 'unknown release'} {side['image'] if wide else short(side['image'])}"


def _hold(hold: Value, now: datetime.datetime, *, relative: bool) -> str:
    waiting = f"; {hold['waiting']} waits" if hold["waiting"] else ""
    reason = f": {hold['reason']}" if hold["reason"] else ""
    return f"by {hold['by'] or '-'}, {when(hold['since'], now, relative=relative)}{reason}{waiting}"


def why(answer: Value, now: datetime.datetime, *, relative: bool) -> str:
    """``why``: each thing that is known, oldest kind of work first."""
    lines: list[str] = []
    for run in answer["runs"]:
        lines.append(f"run {run['id']}  {_ended(run)}  {run['sha'][:7]} by {run['actor']}")
    for job in answer["jobs"]:
        lines.append(f"job {job['run']}/{job['service']}  {job['status']}")
        lines += [f"  {line}" for line in failure(job)]
        lines += explained(job["build"]) if "build" in job else ()
    for release in answer["releases"]:
        lines.append(f"release {release['id']}  {short(release['image'])}  {release['sha'][:7]}")
    for found in answer["deployments"]:
        place = f"{found['project']}/{found['environment']} {found['service']}"
        lines.append(f"deployment {found['id']}  {place}  {_ended(found)}")
    for found in answer.get("promotions", ()):
        lines.append(f"promotion {found['id']}  {_brought(found)}  {_ended(found)}")
    for found in answer["decisions"]:
        moment = when(found["at"], now, relative=relative)
        reason = _reason(found).partition("\n")[0]  # a build's last lines stand with its job already
        lines.append(f"decision on {found['about']} {found['id']}  {moment}  {found['outcome']}  {reason}")
    for found in answer["parked"]:
        lines.append(f"parked {found['id']}  {found['event_type']}  {_reason(found)}")
    return "\n".join(printable(line) for line in lines)


def promotions(answer: Value, now: datetime.datetime, *, relative: bool) -> str:
    """``promotions``: what is on its way between environments, and what each waits for."""
    names = ("PROMOTION", "WHAT", "STATUS", "ASKED", "BY", "WHY")
    rows = [
        [p["id"], _brought(p), p["status"], when(p["created_at"], now, relative=relative), p["actor"], _reason(p)]
        for p in answer["promotions"]
    ]
    return table(names, rows)


def _brought(found: Value) -> str:
    members = ", ".join(f"{one['service']} {one['release'].rpartition('.')[2]}" for one in found["members"])
    way = f"{found['source']} → {found['environment']}" if found["source"] else found["environment"]
    return f"{members}  {way}"


def _ended(found: Value) -> str:
    reason = _reason(found)
    return f"{found['status']}  {reason}" if reason else str(found["status"])


def _reason(found: Value) -> str:
    return ": ".join(part for part in (found.get("reason", ""), found.get("message", "")) if part)


def parked(answer: Value, now: datetime.datetime, *, relative: bool) -> str:
    """``parked``: what waits for a person."""
    if not answer["parked"]:
        return "nothing is parked: no event waits for a person"
    names = ("id", "consumer", "event_type", "reason", "attempts")
    rows = [
        [*(str(p[name]) for name in names), when(p["at"], now, relative=relative), p["message"]]
        for p in answer["parked"]
    ]
    shown = table(("ID", "STAGE", "EVENT", "REASON", "TRIES", "WHEN", "MESSAGE"), rows)
    return f"{shown}\nnext: enclii parked retry ID sends one again; enclii parked drop ID gives it up"


def checks(answer: Value) -> str:
    """``doctor``: one line per check, and how to mend it."""
    rows = [[c["level"], c["subject"], c["message"]] for c in answer["checks"]]
    fixes = [f"fix {c['subject']}: {c['fix']}" for c in answer["checks"] if c.get("fix")]
    return "\n".join([table(("LEVEL", "CHECK", "MESSAGE"), rows), *map(printable, fixes)])


def plan(found: Value) -> str:
    """``rollback --plan``: what would change, and the command that does it."""
    place = f"-p {found['project']} -e {found['environment']} -s {found['service']}"
    undone = ", ".join(f"{d['version']} ({d['git_sha'][:7]})" for d in found["undone"]) or "nothing"
    lines = [
        f"{found['project']}/{found['environment']} {found['service']}  {found['from']} → {found['to']}",
        f"  commit  {found['git_sha'][:7]}",
        f"  undone  {undone}",
        *(f"  {one['field']:<7} {_shown(one['from'])} → {_shown(one['to'])}" for one in found["changes"]),
        *(f"  secret  {_secret_change(one)}" for one in found.get("secrets", ())),
        *(f"  warning {text}" for text in found["warnings"]),
        f"  hold    newer releases will be built and wait until: enclii resume {place}",
        f"Run: enclii rollback --to {found['to']} {place}",
    ]
    return "\n".join(printable(line) for line in lines)


def _shown(value: object) -> str:
    """A value of a plan's change; an image by its digest."""
    text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    return "none" if value is None else short(text) if "@sha256:" in text else text


def _secret_change(one: Value) -> str:
    before = f"v{one['from']}" if one["from"] else "not set"
    return f"{one['name']} {before} → v{one['to']}"


def log_line(line: Value, *, prefix: bool, safe: bool) -> str:
    """A line of a service's or a build's log; on a terminal its control characters are shown, not obeyed."""
    text = printable(line["text"]) if safe else str(line["text"])
    return f"{printable(line['replica'])} | {text}" if prefix and line.get("replica") else text


def stages(run: Value, now: datetime.datetime) -> Iterator[tuple[str, str]]:
    """Each stage of a run as (identity with its state, line with elapsed seconds): a new identity is a change."""
    for job in run["jobs"]:
        for stage in job["stages"]:
            end = stage["finished_at"]
            took = seconds_between(stage["started_at"], _moment(end, now)) or 0.0
            state = "done" if end else "running" if job["status"] not in ("failed", "cancelled") else job["status"]
            name = f"{job['service']}  {stage['name']}"
            yield f"{name} {state}", printable(f"{name}  {state}  {span(took)}")
        if job["status"] in ("deployed", "held", "failed", "superseded", "cancelled"):
            first, *rest = failure(job) or [""]
            told = f"{job['service']}  {job['status']}  {first}".rstrip()
            yield f"{job['service']} {job['status']}", "\n".join(map(printable, [told, *rest]))
    for found in run["deployments"]:
        name = f"{found['service']}  {found['environment']}  {found['version']}"
        took = seconds_between(found["created_at"], _moment(found["running_at"] or found["finished_at"], now)) or 0.0
        yield f"{name} {found['status']}", printable(f"{name}  {_ended(found)}  {span(took)}")


def _moment(text: str, now: datetime.datetime) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text) if text else now
