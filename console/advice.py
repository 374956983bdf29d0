"""What to do next, by the reason of a refusal: the API's problems and the command line say the same.

A reason that has no line of its own gets that of its exit code, so that nobody is left with what failed alone.
"""

from __future__ import annotations

from typing import Final

_NAMES: Final = "name one that there is; enclii status shows them"
_RELEASES: Final = "enclii releases lists what there is"
_DOCTOR: Final = "enclii doctor says what does not answer; then say it again"

BY_REASON: Final[dict[str, str]] = {
    "no_such_project": "name one that there is; a git push to a new one makes it",
    "no_such_service": _NAMES,
    "no_such_environment": _NAMES,
    "unknown_environment": _NAMES,
    "no_such_release": _RELEASES,
    "unknown_release": _RELEASES,
    "nothing_to_roll_back_to": _RELEASES,
    "already_deployed": _RELEASES,
    "never_deployed": "git push, or enclii deploy vN",
    "not_deployed": "git push, or enclii deploy vN",
    "nothing_deployed": "git push, or enclii deploy vN",
    "no_such_run": "enclii status names the last run; enclii api GET /v1/runs lists them",
    "run_ended": "enclii why RUN says how it ended; enclii deploy SHA deploys its commit again",
    "no_such_job": "enclii status names the last run; enclii why RUN what it built",
    "no_such_build": "enclii builds lists what was built",
    "which_build": "add -s SERVICE",
    "no_such_deployment": "enclii api GET /v1/deployments lists them",
    "no_dead_logs": "enclii logs shows what lives",
    "no_replica": "enclii ps shows those that run",
    "nothing_known": "give a commit, run, release, command or delivery; enclii releases names some",
    "no_such_command": "enclii audit lists what was asked for",
    "no_such_parked": "enclii parked lists what waits",
    "event_gone": "enclii parked drop ID",
    "settled_otherwise": "enclii parked lists what waits",
    "no_such_promotion": "enclii promotions --all lists them",
    "unknown_promotion": "enclii promotions --all lists them",
    "no_such_token": "enclii token list",
    "bad_sha": "enclii releases lists commits and releases; git rev-parse HEAD prints a full id",
    "older_than_deployed": "enclii rollback --to vN goes back, and holds there",
    "diverged": "enclii deploy SHA --force",
    "already_held": "enclii status says by whom and why; enclii resume ends it",
    "not_held": "enclii status shows what is live and wanted",
    "held": "enclii resume",
    "frozen": "enclii thaw ends the freeze; a rollback goes on",
    "moved_meanwhile": "enclii status shows what is wanted now; then say it again",
    "role_missing": "enclii whoami says what you may; ask an admin of the project for the role",
    "declined": "say it again with --yes",
    "internal_error": "the console's log says why; enclii doctor checks the installation",
}  # fmt: skip
_BY_EXIT_CODE: Final = {
    1: _DOCTOR,
    2: "add --help",
    3: "it goes on: enclii status",
    4: "enclii login, or set ENCLII_TOKEN",
    5: "enclii status shows what there is",
    6: "enclii status shows what is live and wanted",
    7: "enclii logs --previous, or enclii rollback",
}


def next_step(reason: str, exit_code: int) -> str:
    """One line for a person; "" where only the message can say it."""
    return BY_REASON.get(reason) or _BY_EXIT_CODE.get(exit_code, "")
