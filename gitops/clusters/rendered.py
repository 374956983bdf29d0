"""Which Deployment runs an adopted service: of all that a sync tool's unit manages, the one with the release's image.

A kustomization or a chart names its objects as its authors please, with no label of Enclii's. The image is the one
thing that is known of them, because Enclii wrote it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gitops.clusters import Health, ServiceRef, Wanted, kube_images
from gitops.clusters.kube_api import Api
from gitops.clusters.kube_follow import Found, Name, found
from gitops.clusters.kube_kinds import KNOWN
from gitops.clusters.kube_view import View
from pipeline.errors import NotFound

DEPLOYMENT = KNOWN["apps/v1", "Deployment"]
MOST = 50
"""Deployments of one unit that are looked at."""
SHOWN = 5


class Rendered:
    """Finds them on one cluster, and has them watched."""

    def __init__(self, api: Api, view: View) -> None:
        self._api, self._view = api, view

    async def find(self, wanted: Wanted, managed: Sequence[Name], *, again: bool) -> Name | Health:
        """Where the Deployment is, which is watched from then on; else why there is none, or not one.

        With ``again`` it is asked for even where it is known. Raises Unavailable.
        """
        followed = self._view.followed(wanted.ref)
        if followed is not None and not again and followed.there.name in managed:
            current = self._view.deployment(wanted.ref)
            if current is not None and kube_images.deployed(wanted, current):
                await followed.ready()
                return followed.there.name
        there = await asyncio.gather(*(self._look(name) for name in managed[:MOST]))
        one = chosen(wanted, [each for each in there if each is not None])
        if isinstance(one, Health):
            return one
        await self._view.follow(wanted.ref, one)
        return one.name

    async def _look(self, name: Name) -> Found | None:
        try:
            path = DEPLOYMENT.object(name.namespace, name.name)
            return found(name, await self._api.get(path, doing=f"look at the Deployment {name}"))
        except NotFound:
            return None

    async def forget(self, ref: ServiceRef) -> None:
        """Look no further: what a person's files made is left to that person."""
        await self._view.unfollow(ref)


def chosen(wanted: Wanted, there: Sequence[Found]) -> Found | Health:
    """The Deployment of the wanted image; of several the one that is named like the service."""
    fit = [one for one in there if kube_images.deployed(wanted, one.deployment)]
    named = [one for one in fit if one.name.name == wanted.ref.service]
    if len(fit) == 1 or len(named) == 1:
        return (fit if len(fit) == 1 else named)[0]
    if fit:
        said = f"{_listed(fit)} all run {wanted.image}: name the one that is {wanted.ref} {wanted.ref.service!r}"
        return Health("unhealthy", "rendered_twice", said)
    said = f"none of what was synced runs {wanted.image}"
    what = f"{said}: {_listed(there)}" if there else f"{said}: no Deployment is among it"
    return Health("unhealthy", "not_rendered", f"{what}; does what renders these files read the targets' values?")


def _listed(there: Sequence[Found]) -> str:
    names = [f"Deployment {one.name}" for one in sorted(there, key=lambda one: one.name)]
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
