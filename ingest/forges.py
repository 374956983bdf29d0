"""The forges whose webhooks are understood, by the name in the hook's path."""

from __future__ import annotations

from collections.abc import Mapping

from ingest import bitbucket, gitea, github, gitlab
from ingest.hooks import Forge

FORGES: Mapping[str, Forge] = {
    one.name: one for one in (github.FORGE, gitlab.FORGE, gitea.GITEA, gitea.FORGEJO, bitbucket.FORGE)
}
