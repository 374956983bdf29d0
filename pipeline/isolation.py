"""How far builds are kept apart, as part of the builder's id: a policy may allow one class and not another.

The class is what the build worker runs its builds in; it cannot claim one that is not listed here.
"""

from __future__ import annotations

CONTAINER = "container"
"""Namespaces and limits of its own for each build, and nothing that outlives it."""
SHARED_DAEMON = "shared-daemon"
"""Steps run apart from each other, by one daemon that serves several builds."""
CHROOT = "chroot"
"""A directory of its own, and this machine's processes in sight."""

CLASSES = (CONTAINER, SHARED_DAEMON, CHROOT)


def builder_id(instance: str, isolation: str) -> str:
    """What a provenance names as the builder; an unknown class is claimed by nobody."""
    return f"{instance}/{isolation}" if isolation in CLASSES else instance


def builder_ids(instance: str) -> frozenset[str]:
    """All builders of an instance: what is trusted where a policy names none."""
    return frozenset({instance, *(f"{instance}/{one}" for one in CLASSES)})
