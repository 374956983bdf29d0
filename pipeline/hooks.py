"""Each hook's own secret, derived from the instance's roots: nothing to store per hook, and roots can be rotated."""

from __future__ import annotations

import base64
import hashlib
import hmac


def hook_secret(root: str, hook: str) -> str:
    """64 hex digits for one hook (HMAC-SHA256 of its token under the root)."""
    return hmac.new(root.encode(), b"enclii webhook\x00" + hook.encode(), hashlib.sha256).hexdigest()


def root_id(root: str) -> str:
    """A short public name of a root, stored with what it has verified."""
    return hashlib.sha256(b"enclii webhook root\x00" + root.encode()).hexdigest()[:8]


def new_hook(root: str, command: str) -> str:
    """A hook's token: 26 characters that only who has the root can tell from the command that made it."""
    digest = hmac.new(root.encode(), b"enclii hook\x00" + command.encode(), hashlib.sha256).digest()
    return base64.b32encode(digest).decode().lower()[:26]


def app_hook(root: str) -> str:
    """The token of the hook of the installation's GitHub App, which serves all its repositories."""
    return new_hook(root, "the GitHub App")
