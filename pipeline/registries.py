"""Every registry that a process may speak to, as its settings say: whose account, which mirrors, where plain HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from pipeline.registry import Registry
from pipeline.registry_accounts import HUB, Accounts
from pipeline.registry_login import Credentials
from pipeline.settings import Settings

HUB_HOST = "registry-1.docker.io"


@dataclass(frozen=True)
class Registries:
    """``mirrors``: by registry, what is asked before it, first to last; ``plain_http``: hosts spoken to without TLS."""

    accounts: Accounts = field(default_factory=Accounts)
    plain_http: frozenset[str] = frozenset()
    mirrors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def client(self, host: str) -> Registry:
        """A client of one registry, with its account."""
        return Registry(
            HUB_HOST if host == HUB else host,
            plain_http=host in self.plain_http,
            credentials=partial(self.accounts.of, host),
        )

    def places(self, host: str) -> tuple[str, ...]:
        """Where an image of ``host`` may be had: its mirrors, then itself."""
        return (*self.mirrors.get(host, ()), host)


def registries_of(told: Settings) -> Registries:
    """As the settings say. The configured registry has the account that they hold, if they hold one."""
    user, password = told.registry_user, told.registry_password.reveal()
    return Registries(
        accounts=Accounts(
            own={told.registry: Credentials(user, password)} if user else {},
            file=told.below_home(told.registry_config) if told.registry_config.name else None,
        ),
        plain_http=frozenset((*told.plain_http_registries, *([told.registry] if told.registry_plain_http else ()))),
        mirrors=dict(told.registry_mirrors),
    )


def configured(told: Settings) -> Registry:
    """A client of the registry that images go to."""
    return registries_of(told).client(told.registry)
