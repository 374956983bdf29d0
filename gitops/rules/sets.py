"""Several services in one commit: the drafts of each joined into one, and one commit read back as that of each.

A set's commit has the trailer ``Enclii-Set`` and, for each service, one ``Enclii-Member`` with what a commit of that
service alone would say. So everything that follows from a commit follows from a set's for each of its places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from urllib.parse import quote, unquote

from gitops import trailers
from gitops.committing.edits import Commit, Draft
from gitops.committing.intents import Cause
from gitops.layout import Place, place_of

_COMMON = frozenset({"Project", "Environment", "Service", "Trace", "Via", "Intent", "Set", "Member"})
_SAFE = "/:@.+,~"


def joined(drafts: Mapping[Place, Draft], subject: str, cause: Cause, extra: Mapping[str, str]) -> Draft:
    """One commit that does what each draft does; ``extra`` are further trailers of the whole."""
    first, *others = drafts.values()
    besides = (*first.others, *(edit for one in others for edit in (one.edit, *one.others)))
    somewhere = next(iter(drafts))
    own = {
        "Project": somewhere.project,
        "Environment": somewhere.environment,
        **extra,
        "Member": "\n".join(_member(place, draft) for place, draft in drafts.items()),
        "Trace": cause.trace,
        "Via": cause.via,
        "Intent": cause.intent,
    }
    message = trailers.render(subject, own, why=cause.why)
    return Draft(first.edit, message, cause.actor, cause.at, besides)


def expanded(commit: Commit) -> list[tuple[Place, Commit]]:
    """The commit as one for each place that it speaks of: a set's as many, any other of ours as itself."""
    said = commit.trailers
    if "Member" not in said:
        here = _place(said, said.get("Service", ""))
        return [(here, commit)] if here else []
    common = {key: value for key, value in said.items() if key not in ("Member", "Service")}
    found: list[tuple[Place, Commit]] = []
    for line in said["Member"].split("\n"):
        service, own = _read(line)
        if (here := _place(said, service)) is not None:
            intent = member_intent(said.get("Intent", ""), service)
            found.append((here, replace(commit, trailers={**own, **common, "Service": service, "Intent": intent})))
    return found


def member_intent(intent: str, service: str) -> str:
    """The identity of what a set's intent does to one service."""
    return f"{intent}/{service}"


def listed(services: Sequence[str]) -> str:
    """``api, web`` for a subject line, shortened where there are many."""
    names = sorted(services)
    return ", ".join(names) if len(names) <= 3 else f"{', '.join(names[:2])} and {len(names) - 2} more"


def _member(place: Place, draft: Draft) -> str:
    said = {key: value for key, value in trailers.parse(draft.message).items() if key not in _COMMON}
    return " ".join([place.service, *(f"{key}={quote(value, safe=_SAFE)}" for key, value in said.items())])


def _read(line: str) -> tuple[str, dict[str, str]]:
    service, *pairs = line.split(" ")
    found = (pair.partition("=") for pair in pairs)
    return service, {key: unquote(value) for key, separator, value in found if separator}


def _place(said: Mapping[str, str], service: str) -> Place | None:
    return place_of("/".join((said.get("Project", ""), said.get("Environment", ""), service)))
