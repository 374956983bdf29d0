"""Who asks, with what their credential brings along, and the record of a token that Enclii gave out."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar, Final, Literal, get_args

import msgspec

from pipeline.record import Record

Role = Literal["viewer", "deployer", "admin"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
GROUP: Final = "group:"


class Grant(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A role that a credential brings along; an empty project or environment means every one."""

    role: Role
    project: str = ""
    environment: str = ""

    def covers(self, project: str, environment: str) -> bool:
        """Whether it counts there; "" for ``environment`` is the whole project, "" for both the installation."""
        return self.project in ("", project) and self.environment in ("", environment)


class Principal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Somebody whose credential was checked.

    ``name`` is what histories show; ``groups`` are the identity provider's, without a prefix; ``other_names`` are
    further ways to be named in a project's roles, such as ``github:ada``. ``listed`` is false for a machine's token:
    it has its grants alone, whatever a project's roles say of its name.
    """

    name: str
    groups: tuple[str, ...] = ()
    other_names: tuple[str, ...] = ()
    grants: tuple[Grant, ...] = ()
    listed: bool = True

    def is_named(self, entries: Collection[str]) -> bool:
        """Whether a list of people and groups has this one."""
        if not self.listed:
            return False
        own = {self.name, *self.other_names} | {GROUP + one for one in self.groups}
        return not own.isdisjoint(entries)


class Token(Record, frozen=True, kw_only=True):
    """A token of the API: a machine's with its scope, or a person's from ``enclii login``. Its text is kept nowhere."""

    kind: ClassVar[str] = "token"
    id: str
    name: str  # what it is for
    digest: str  # SHA-256 of the text
    who: Principal
    by: str  # who made it
    origin: str = ""  # what it ends with: the token or login that it came of
    created_at: str
    expires_at: str
    used_at: str = ""  # at most a minute old
    revoked_at: str = ""
    revoked_by: str = ""

    @property
    def key(self) -> tuple[str, ...]:
        return (self.id,)
