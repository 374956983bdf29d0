"""``chatops`` in ``project.yaml``: the least level on the forge that may say a command in a comment."""

from __future__ import annotations

from typing import Final

from gitops.fields import PROJECT

LEVELS: Final = ("read", "triage", "write", "maintain", "admin", "off")
PROJECT_VERBS: Final = frozenset({"preview", "approve"})
ENVIRONMENT_VERBS: Final = frozenset({"rollback", "hold", "resume"})


def project(item: object, where: str = "chatops") -> dict[str, str]:
    """Of previews: ``preview`` (default write) and ``approve`` (default maintain). Raises Invalid."""
    return _levels(item, where, PROJECT_VERBS)


def environment(item: object, where: str) -> dict[str, str]:
    """Of one environment: ``rollback``, ``hold``, ``resume``, each off unless it is named. Raises Invalid."""
    return _levels(item, where, ENVIRONMENT_VERBS)


def _levels(item: object, where: str, verbs: frozenset[str]) -> dict[str, str]:
    found = {key: _word(value) for key, value in PROJECT.mapping(item, where, verbs).items()}
    for key, value in found.items():
        if value not in LEVELS:
            raise PROJECT.wrong(f"{where}.{key}", f"must be one of {', '.join(LEVELS)}")
    return found


def _word(value: object) -> str:
    return "off" if value is False else str(value)  # YAML reads a bare off as false
