"""The gate's checks as the API and the command line tell them: one shape, whoever asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gitops.gate.evaluation import Check, Evaluation


def told(release: str, image: str, evaluation: Evaluation) -> dict[str, Any]:
    """An evaluation of ``image``; ``release`` is empty for an image alone."""
    checks = [_check(one) for one in evaluation.checks]
    return {"release_id": release, "image": image, "passed": evaluation.passed, "checks": checks}


def _check(one: Check) -> dict[str, Any]:
    answer: dict[str, Any] = {"rule": one.rule, "passed": one.passed, "detail": one.detail}
    if one.override is not None:
        answer["override"] = {"by": one.override.by, "reason": one.override.reason}
    return answer
