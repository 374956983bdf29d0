"""Whether a file of a secret is read by its owner alone."""

from __future__ import annotations

import os


def open_to_others(status: os.stat_result) -> bool:
    """Whether somebody else may read it.

    Root may have given it to our own group alone: so a Secret is mounted into a pod whose processes are not root.
    """
    return open_beyond(status, user=os.geteuid(), group=os.getegid())


def open_beyond(status: os.stat_result, *, user: int, group: int) -> bool:
    """The same, for a process of ``user`` and ``group``."""
    given = status.st_uid == 0 != user and status.st_gid == group
    return bool(status.st_mode & (0o037 if given else 0o077))
