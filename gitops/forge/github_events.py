"""What Enclii's GitHub App asks for, and the manifest by which GitHub makes one."""

from __future__ import annotations

from typing import Any, Final

PERMISSIONS: Final = {
    "checks": "write",
    "contents": "read",
    "deployments": "write",
    "issues": "write",
    "metadata": "read",
    "pull_requests": "write",
    "statuses": "write",
}
EVENTS: Final = ("push", "pull_request", "issue_comment", "check_run", "deployment", "delete", "repository")
"""An App hears of its installations without asking."""


def manifest(*, name: str, hook: str, home: str, back: str) -> dict[str, Any]:
    """The manifest that a person posts to GitHub's page; ``back`` is where GitHub sends the code."""
    return {
        "name": name,
        "url": home,
        "hook_attributes": {"url": hook, "active": True},
        "redirect_url": back,
        "public": False,
        "default_permissions": PERMISSIONS,
        "default_events": list(EVENTS),
    }
